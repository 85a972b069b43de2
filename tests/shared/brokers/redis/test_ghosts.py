"""Processes that are gone without a word, while their poll seems to wait: what they are given is lost to others for one
lease at most, and only once."""

import asyncio

import pytest

from shared.brokers.redis.exchange import Exchange
from shared.brokers.sides import GatewaySide, WorkerSide
from tests.contracts.brokers import Back, Front
from tests.redis_server import RedisServer
from tests.shared.brokers.redis.conftest import LIMITS, Open


async def chats(link: Open, *sessions: str) -> Front:
    front = Front(GatewaySide(await link("gateway"), "gateway"))
    await front.drain()
    for session in sessions:
        await front.chat(session)
    return front


async def haunt(link: Open, name: str) -> None:
    """Its poll waits, with a lot of room, and nobody will ever fetch what it is given."""
    exchange: Exchange = (await link(name))._exchange
    assert (await exchange.call("poll", (name, 0, None, 1000, False, False), lasting=True))[0] == 1


async def test_a_ghost_is_given_something_once(link: Open) -> None:
    front = await chats(link, "s", "t")
    await haunt(link, "ghost")
    await front.submit("m1", "s")  # which it gets
    back = Back(WorkerSide(await link("worker-1"), "worker-1"))
    polling = asyncio.ensure_future(back.lease())
    await front.submit("m1", "t")
    async with asyncio.timeout(LIMITS.lease / 2):
        assert (await polling).lease.session == "t"
    assert (await back.lease()).lease.session == "s"


async def test_a_ghost_whose_poll_is_over_is_given_nothing(link: Open) -> None:
    front = await chats(link, "s")
    await haunt(link, "ghost")
    await asyncio.sleep(LIMITS.lease / 2 + 0.05)
    await front.submit("m1", "s")
    back = Back(WorkerSide(await link("worker-1"), "worker-1"))
    async with asyncio.timeout(LIMITS.lease / 2):
        assert (await back.lease()).lease.attempt == 1


async def test_a_ghost_goes_when_it_has_been_silent_for_long(link: Open, server: RedisServer) -> None:
    limits = LIMITS._replace(silence=1.0)
    keeper = await link("keeper", limits)
    exchange = (await link("ghost", limits))._exchange
    await exchange.call("poll", ("ghost", 0, None, 1000, False, True), lasting=True)
    async with asyncio.timeout(5):
        while server.keys() & {"{llm-chat}:wk:ghost", "{llm-chat}:seats"}:
            await keeper.call("newest", [])
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("buried", [False, True])
async def test_nobody_is_blamed_for_what_a_ghost_was_given(link: Open, buried: bool) -> None:
    """Also where that happens more often than a message may lose its worker."""
    front = await chats(link, "s")
    back = Back(WorkerSide(await link("worker-1"), "worker-1"))
    await front.submit("m1", "s")
    await back.side.release([(await back.lease()).lease.number])
    for number in range(4):
        await haunt(link, f"ghost-{number}")
        if buried:
            assert await back.side.bury(f"ghost-{number}") == 0
    attempt = await back.lease()
    assert attempt.lease.attempt > 1
    assert await attempt.add("text", end=True) == []
