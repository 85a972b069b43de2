"""Three nodes: whichever of them the URL names, the one that has our keys is found."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from shared.brokers.redis.address import parse
from shared.brokers.redis.link import RedisLink
from shared.brokers.sides import GatewaySide, WorkerSide
from shared.messages import text_of
from tests.contracts.brokers import Back, Front
from tests.redis_server import RedisServer, free_port
from tests.shared.brokers.redis.conftest import LIMITS

SLOTS = 16_384
BUS = 10_000  # by how much the port between nodes is higher


def low_port() -> int:
    while (port := free_port()) + BUS > 65_535:
        pass
    return port


@pytest.fixture
def nodes() -> Iterator[list[RedisServer]]:
    servers = [RedisServer("--cluster-enabled", "yes", port=low_port()) for _ in range(3)]
    bounds = [0, 5000, 10_000, SLOTS]
    for server, (first, end) in zip(servers, pairwise(bounds), strict=True):
        server.run("CLUSTER", "ADDSLOTS", *range(first, end))
        server.run("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
    yield servers
    for server in servers:
        server.remove()


async def agreed(nodes: list[RedisServer]) -> None:
    """All of them know all slots."""
    while True:
        if all(b"cluster_state:ok" in raw(node) for node in nodes):
            return
        await asyncio.sleep(0.05)


def raw(server: RedisServer) -> bytes:
    found = server.run("CLUSTER", "INFO")
    return b"".join(f"{key}:{value}\n".encode() for key, value in found.items()) if isinstance(found, dict) else found


async def test_every_node_leads_to_the_one_that_has_our_keys(nodes: list[RedisServer]) -> None:
    await agreed(nodes)
    links = [RedisLink(parse(node.url), LIMITS, f"peer-{at}") for at, node in enumerate(nodes)]
    for link in links:
        await link.connect()
    front, other = Front(GatewaySide(links[0], "peer-0")), Front(GatewaySide(links[1], "peer-1"))
    back = Back(WorkerSide(links[2], "peer-2"))
    for gateway in (front, other):
        await gateway.drain()
        await gateway.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text ")
    await attempt.add("more", end=True)
    for gateway in (front, other):
        await gateway.drain_end("m1")
        assert text_of(gateway.items) == "text more"
    owners = [node for node in nodes if node.keys()]
    assert len(owners) == 1
    await links[0].close("leave_gateway", "peer-0")
    await links[1].close("leave_gateway", "peer-1")
    await links[2].close("leave_worker", "peer-2")
