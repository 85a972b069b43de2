"""What becomes of the server: it hangs, is killed with or without its last writes, is emptied, is full."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.brokers.redis import exchange
from shared.brokers.redis.address import parse
from shared.brokers.redis.link import RedisLink
from shared.brokers.sides import GatewaySide, WorkerSide
from shared.brokers.state import Limits
from shared.errors import BrokerUnavailable
from shared.messages import Flush, Refusal, text_of
from tests.contracts.brokers import Attempt, Back, Front
from tests.redis_server import RedisServer, free_port

LIMITS = Limits(lease=0.8)


class Peers:
    """One gateway and one worker of a server that may be treated badly."""

    def __init__(self, server: RedisServer, front: Front, back: Back, links: list[RedisLink]) -> None:
        self.server = server
        self.front = front
        self.back = back
        self.links = links

    async def attempt(self) -> Attempt:
        await self.front.chat()
        await self.front.submit("m1")
        return await self.back.lease()

    async def drain_until_lost(self) -> None:
        while not (await self.front.drain()).lost:
            pass


async def peers_of(server: RedisServer, limits: Limits = LIMITS) -> AsyncIterator[Peers]:
    links = [RedisLink(parse(server.url), limits, name) for name in ("gateway", "worker-1")]
    for link in links:
        await link.connect()
    front, back = Front(GatewaySide(links[0], "gateway")), Back(WorkerSide(links[1], "worker-1"))
    await front.drain()
    yield Peers(server, front, back, links)
    await links[0].close("leave_gateway", "gateway")
    await links[1].close("leave_worker", "worker-1")
    server.remove()


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    """The server has a file in which every write is."""
    async for peers in peers_of(RedisServer("--appendonly", "yes", "--appendfsync", "always")):
        yield peers


async def append_for_sure(back: Back, flush: Flush) -> list[Refusal]:
    """As workers do: the same again until its fate is known."""
    while True:
        try:
            return await back.side.append([flush])
        except BrokerUnavailable:
            await asyncio.sleep(0.05)


async def write_through_a_pause(peers: Peers, seconds: float) -> None:
    attempt = await peers.attempt()
    renewing = asyncio.ensure_future(renew(peers.back, attempt))
    asyncio.get_running_loop().call_later(0.05, peers.server.pause)
    asyncio.get_running_loop().call_later(0.05 + seconds, peers.server.go_on)
    for number in range(100):
        flush = attempt.flush(f"{number} ", end=number == 99)
        assert await append_for_sure(peers.back, flush) == []
        attempt.next += flush.count
        attempt.text += f"{number} "
        await asyncio.sleep(0.005)
    renewing.cancel()
    items = await peers.front.kept()
    assert text_of(items) == "".join(f"{number} " for number in range(100))
    assert [item.index for item in items] == list(range(100))
    assert {item.attempt for item in items} == {1}  # nobody has lost a lease


async def renew(back: Back, attempt: Attempt) -> None:
    while True:
        await back.poll()


async def test_a_pause_gives_one_entry_per_write_and_ends_no_lease(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.4)
    await write_through_a_pause(peers, 1.5)


async def test_a_pause_that_is_too_long_for_a_link_does_neither(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.4)
    monkeypatch.setattr(exchange, "STALLED", 0.6)
    await write_through_a_pause(peers, 1.5)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_pause_of_seven_seconds(peers: Peers) -> None:
    await write_through_a_pause(peers, 7.0)


async def test_killed_with_all_its_writes_in_its_file_nothing_is_lost(peers: Peers) -> None:
    attempt = await peers.attempt()
    await attempt.add("before ")
    await peers.front.drain()
    epoch = peers.front.batches[-1].epoch
    peers.server.kill()
    peers.server.start()
    flush = attempt.flush("after ", end=True)
    assert await append_for_sure(peers.back, flush) == []
    await peers.drain_until_lost()
    assert peers.front.batches[-1].epoch == epoch
    attached = await peers.front.side.attach("s", peers.front.items[-1].cursor)
    assert (attached.page.recovered, text_of(attached.page.items)) == (True, "after ")
    assert (await peers.front.submit("m1")).ended


def file_of(server: RedisServer) -> Path:
    """Where its writes go; several files since version 7, of which one grows."""
    return max(server.directory.rglob("*.aof"), key=lambda file: file.stat().st_size)


def cut_file(server: RedisServer, size: int) -> None:
    """The end of it never reached the disk."""
    with file_of(server).open("r+b") as opened:
        opened.truncate(size)


async def test_killed_without_its_last_writes_the_reply_goes_on_and_the_loss_can_be_seen(peers: Peers) -> None:
    attempt = await peers.attempt()
    await attempt.add("kept ")
    await peers.front.drain_until(lambda: peers.front.items)
    before = file_of(peers.server).stat().st_size
    await attempt.add("lost ")
    await peers.front.drain_until(lambda: len(peers.front.items) == 2)
    seen = peers.front.items[-1].cursor
    peers.server.kill()
    cut_file(peers.server, before)
    peers.server.start()
    await peers.drain_until_lost()
    page = (await peers.front.side.attach("s", seen)).page
    assert (page.recovered, text_of(page.items)) == (False, "kept ")
    assert [refusal.reason for refusal in await append_for_sure(peers.back, attempt.flush("more"))] == ["fenced"]
    peers.back.held = []  # a worker drops what is fenced
    heir = await peers.back.lease()
    assert (heir.lease.text, heir.lease.attempt) == ("kept ", 2)
    assert heir.lease.number > attempt.lease.number + 1000  # what the lost writes gave names nothing now
    await heir.add("again", end=True)
    assert text_of(await peers.front.kept()) == "kept again"


async def test_a_token_that_a_former_life_knew_is_not_good(peers: Peers) -> None:
    """Its spending may be among what is lost."""
    front = peers.front
    epoch = (await front.side.stats()).epoch
    peers.server.kill()
    peers.server.start()
    assert await front.side.spend("ticket", "ann", epoch, 30.0) is False
    assert await front.side.spend("ticket", "ann", (await front.side.stats()).epoch, 30.0) is True


async def test_killed_without_a_file_it_is_a_new_memory() -> None:
    async for peers in peers_of(RedisServer()):
        attempt = await peers.attempt()
        epoch = peers.front.batches[-1].epoch
        peers.server.kill()
        peers.server.start()
        await peers.drain_until_lost()
        assert peers.front.batches[-1].epoch != epoch
        assert [refusal.reason for refusal in await append_for_sure(peers.back, attempt.flush("x"))] == ["fenced"]


async def test_emptied_under_us_it_is_a_new_memory(peers: Peers) -> None:
    attempt = await peers.attempt()
    epoch = peers.front.batches[-1].epoch
    peers.server.empty()
    await peers.drain_until_lost()
    assert peers.front.batches[-1].epoch != epoch
    assert [refusal.reason for refusal in await append_for_sure(peers.back, attempt.flush("x"))] == ["fenced"]


async def test_scripts_that_are_flushed_are_sent_again(peers: Peers) -> None:
    attempt = await peers.attempt()
    peers.server.run("SCRIPT", "FLUSH")
    assert await append_for_sure(peers.back, attempt.flush("x")) == []


async def until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


async def test_a_full_server_stores_nothing_and_says_so_and_goes_on_when_there_is_room(peers: Peers) -> None:
    attempt = await peers.attempt()
    await attempt.add("one ")
    peers.server.run("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(BrokerUnavailable):
        await peers.back.side.append([attempt.flush("two ")])
    await until(lambda: "is full" in peers.links[1].trouble)
    draining = asyncio.ensure_future(peers.front.drain())  # does not fail
    await asyncio.sleep(0.1)
    peers.server.run("CONFIG", "SET", "maxmemory", "0")
    assert await append_for_sure(peers.back, attempt.flush("two ", end=True)) == []
    await draining
    assert text_of(await peers.front.kept()) == "one two "
    await until(lambda: not (peers.links[0].trouble or peers.links[1].trouble))


async def test_a_replica_is_known_and_its_promotion_noticed(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The former master of a failover, before the address leads to the new one."""
    monkeypatch.setattr(exchange, "PATIENCE", 1.0)
    attempt = await peers.attempt()
    peers.server.run("REPLICAOF", "127.0.0.1", str(free_port()))
    flush = attempt.flush("text", end=True)
    with pytest.raises(BrokerUnavailable):
        await peers.back.side.append([flush])
    assert "is a replica: name its master" in peers.links[1].trouble
    peers.server.run("REPLICAOF", "NO", "ONE")
    assert await append_for_sure(peers.back, flush) == []
    assert text_of(await peers.front.kept()) == "text"


async def test_every_key_expires(peers: Peers) -> None:
    """If nobody came any more, nothing would stay."""
    attempt = await peers.attempt()
    await attempt.add("text ")
    await peers.front.side.open("t", "ann", None, None)
    await peers.front.submit("m1", "t")
    await peers.front.side.cancel("t", "m2")
    epoch = (await peers.front.side.stats()).epoch
    await peers.front.side.spend("token", "ann", epoch, 30.0)
    until = asyncio.get_running_loop().time() + 1.5
    while asyncio.get_running_loop().time() < until:  # the look that comes once per second
        await peers.back.poll()
    ttls = {key: peers.server.run("TTL", key) for key in sorted(peers.server.keys())}
    assert len(ttls) > 10
    assert {key for key, ttl in ttls.items() if ttl < 0} == set()
