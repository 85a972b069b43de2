"""`server`: a Redis of this module's own, empty before each test. `link`: a gateway's or worker's link to it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from shared.brokers.redis.address import parse
from shared.brokers.redis.link import RedisLink
from shared.brokers.state import Limits
from tests.redis_server import RedisServer

Open = Callable[..., Awaitable[RedisLink]]
LIMITS = Limits(lease=0.8)


@pytest.fixture(scope="module")
def module_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def server(module_server: RedisServer) -> RedisServer:
    module_server.empty()
    return module_server


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[Open]:
    """`await link("name")`; all are closed at the end."""
    links: list[tuple[RedisLink, str]] = []

    async def link(name: str, limits: Limits = LIMITS) -> RedisLink:
        made = RedisLink(parse(server.url), limits, name)
        await made.connect()
        links.append((made, name))
        return made

    yield link
    for made, name in links:
        await made.close("leave_gateway", name)
