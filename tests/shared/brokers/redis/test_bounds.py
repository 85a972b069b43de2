"""What a gateway has not drained is counted to the byte, also where a session in between is forgotten."""

from shared.brokers.redis.link import RedisLink
from shared.brokers.sides import GatewaySide, WorkerSide
from tests.contracts.brokers import Attempt, Back, Front
from tests.redis_server import RedisServer
from tests.shared.brokers.redis.conftest import LIMITS, Open

BYTES = "{llm-chat}:gw:gateway"


async def attempts(front: Front, back: Back, *sessions: str) -> list[Attempt]:
    for session in sessions:
        await front.chat(session)
        await front.submit("m1", session)
    return [await back.lease() for _ in sessions]


async def test_forgetting_gives_back_what_the_session_had_waiting(link: Open, server: RedisServer) -> None:
    front, back = Front(GatewaySide(await link("gateway"), "gateway")), Back(WorkerSide(await link("w"), "w"))
    await front.drain()
    one, other = await attempts(front, back, "s", "t")
    await other.add("kept ")
    kept = int(server.run("HGET", BYTES, "bytes"))
    for size in (1, 100, 300, 70_000):  # each length of MessagePack's bin
        await one.add("x" * size)
    assert int(server.run("HGET", BYTES, "bytes")) > kept + 70_000
    await front.side.forget("s")
    assert int(server.run("HGET", BYTES, "bytes")) == kept
    batch = await front.drain()
    assert ([item.session for item in batch.items], batch.gone) == (["t"], ["s"])
    assert int(server.run("HGET", BYTES, "bytes")) == 0
    await other.add(end=True)


async def test_a_gateway_that_holds_too_much_loses_its_subscriptions(link: Open, server: RedisServer) -> None:
    limits = LIMITS._replace(undrained_bytes=10_000)
    gateway: RedisLink = await link("gateway", limits)
    front, back = Front(GatewaySide(gateway, "gateway")), Back(WorkerSide(await link("w", limits), "w"))
    await front.drain()
    (one,) = await attempts(front, back, "s")
    for _ in range(4):
        await one.add("x" * 3000)
    batch = await front.drain()
    assert (batch.lost, batch.items) == (True, [])
    assert server.run("EXISTS", f"{BYTES}:o", f"{BYTES}:s") == 0
    await one.add(end=True)
    assert len(await front.kept()) == 5
