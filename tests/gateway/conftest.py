"""What touches transports is tested on both event loops: the one that serves, and the one where uvloop is missing."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

ON_BOTH_LOOPS = {"test_server.py", "test_uvicorn_http.py", "test_front.py", "ws/test_protocol.py", "ws/test_direct.py"}
ON_UVLOOP = {"ws/test_asgi.py", "ws/test_autobahn.py", "ws/test_bad_input.py"}  # many, and what matters is the protocol


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    name = item.path.relative_to(Path(__file__).parent).as_posix()
    if name in ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if name in ON_UVLOOP:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


# The first loop opens a pipe for the life of the process, which no test shall answer for.
uvloop.new_event_loop().close()
