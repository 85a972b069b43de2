"""What touches transports is tested on both event loops: the one that serves, and the one where uvloop is missing."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

ON_BOTH_LOOPS = {"test_server.py", "test_uvicorn_http.py", "ws"}  # files, and folders of them


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if {item.path.name, item.path.parent.name} & ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


# The first loop opens a pipe for the life of the process, which no test shall answer for.
uvloop.new_event_loop().close()
