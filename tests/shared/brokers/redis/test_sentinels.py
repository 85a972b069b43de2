"""Sentinels name the master: what is said where they do not, and what becomes of replies when they name another."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest

from shared.broker import NoBroker
from shared.brokers import check_broker, open_gateway_broker, open_worker_broker
from shared.brokers.redis import exchange
from shared.brokers.redis.link import RedisLink
from shared.brokers.redis.opening import place_of
from shared.brokers.redis.sentinels import Sentinels, parse
from shared.brokers.sides import GatewaySide, WorkerSide
from shared.errors import BrokerUnavailable
from shared.messages import Flush, Refusal, text_of
from shared.settings import BrokerSettings, Settings
from tests.contracts.brokers import Attempt, Back, Front
from tests.redis_house import House, Sentinel, until
from tests.redis_server import RedisServer, free_port
from tests.shared.brokers.redis.conftest import LIMITS

SECRET = "hunter2-and-more"


def settings(url: str) -> Settings:
    return Settings(broker=BrokerSettings(url=url))


async def sentence(url: str) -> str:
    with pytest.raises(NoBroker) as raised:
        await check_broker(settings(url))
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# --- the URL and what is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"redis+sentinel://ann:{SECRET}@host1,host2", "names no sentinels"),
        (f"redis+sentinel://ann:{SECRET}@host1,,host2/mymaster", "names no sentinels"),
        (f"redis+sentinel://ann:{SECRET}@host1:port/mymaster", "names no sentinels"),
        (f"redis+sentinel://ann:{SECRET}@/mymaster", "names no sentinels"),
        (f"redis+sentinel://ann:{SECRET}@host1/mymaster/zero", "names no database"),
        (f"redis+sentinel://ann:{SECRET}@host1/mymaster?timeout=3", "an option that is not known"),
        (f"rediss+sentinel://ann:{SECRET}@host1/mymaster?ssl_ca_certs=/nowhere", "a certificate that cannot be read"),
    ],
)
async def test_a_wrong_url(url: str, said: str) -> None:
    assert said in await sentence(url)


def test_what_a_url_says_without_the_secrets() -> None:
    given = f"redis+sentinel://ann:{SECRET}@host1,[::1]:26380/my%2Fmaster/2?sentinel_password={SECRET}"
    assert repr(parse(given)) == "[::1]:26380, host1:26379/my/master"


async def test_no_sentinel_answers() -> None:
    ports = sorted((free_port(), free_port()))
    said = await sentence(f"redis+sentinel://ann:{SECRET}@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/mymaster")
    assert f"none of the Redis sentinels at 127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]} says where the master is" in said
    assert f"the Redis sentinel at 127.0.0.1:{ports[0]} refuses the connection: start it" in said


@pytest.mark.parametrize("module", ["gateway", "worker"])
def test_at_start_it_is_one_line_and_exit_status_1(module: str) -> None:
    url = f"redis+sentinel://ann:{SECRET}@127.0.0.1:{free_port()}/mymaster"
    words = [sys.executable, "-m", module, *(["--port", "0"] if module == "gateway" else [])]
    environment = {**os.environ, "LLM_CHAT_DATABASE_URL": "none", "LLM_CHAT_BROKER_URL": url}
    ran = subprocess.run(words, capture_output=True, timeout=15, env=environment)
    assert ran.returncode == 1
    (line,) = ran.stderr.decode().splitlines()
    assert "none of the Redis sentinels at" in line
    assert SECRET not in line


@pytest.fixture(scope="module")
def single() -> Iterator[RedisServer]:
    """A master without a replica."""
    server = RedisServer()
    yield server
    server.remove()


async def test_a_master_that_they_do_not_know(single: RedisServer) -> None:
    sentinel = Sentinel(single, 1, 5.0)
    said = await sentence(f"redis+sentinel://:{SECRET}@127.0.0.1:{sentinel.port},127.0.0.1:{free_port()}/other")
    sentinel.remove()
    assert "know no master named 'other': correct the name in LLM_CHAT_BROKER_URL" in said


async def test_sentinels_that_want_a_password_of_their_own(single: RedisServer) -> None:
    sentinel = Sentinel(single, 1, 5.0, f"requirepass {SECRET}")
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
    assert "correct sentinel_password in LLM_CHAT_BROKER_URL" in await sentence(url)
    await check_broker(settings(f"{url}?sentinel_password={SECRET}"))
    sentinel.remove()


async def test_the_ones_that_are_not_there_are_passed_over(single: RedisServer) -> None:
    sentinel = Sentinel(single, 1, 5.0)
    place = parse(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/mymaster/3")
    for _ in range(3):
        found = await place.find()
        assert (found.host, found.port, found.database, found.found) == ("127.0.0.1", single.port, 3, True)
    sentinel.remove()


async def test_one_that_hangs_is_passed_over(single: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.brokers.redis.sentinels.ASK_SECONDS", 0.2)
    hanging, sentinel = Sentinel(single, 1, 5.0), Sentinel(single, 1, 5.0)
    hanging.pause()
    assert (await parse(f"redis+sentinel://127.0.0.1:{hanging.port},127.0.0.1:{sentinel.port}/mymaster").find()).found
    said = await sentence(f"redis+sentinel://127.0.0.1:{hanging.port}/mymaster")
    assert f"the Redis sentinel at 127.0.0.1:{hanging.port} does not answer" in said
    hanging.remove()
    sentinel.remove()


async def test_a_replica_that_they_name_is_not_taken_for_the_master(single: RedisServer) -> None:
    replica = RedisServer("--replicaof", "127.0.0.1", str(single.port))
    sentinel = Sentinel(replica, 1, 5.0)
    said = await sentence(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster")
    assert f"at redis://127.0.0.1:{replica.port}/0 is a replica: wait until they name another" in said
    sentinel.remove()
    replica.remove()


# --- fail-over -------------------------------------------------------------------------------------------------------


class Peers(NamedTuple):
    """One gateway and one worker, led by sentinels."""

    house: House
    front: Front
    back: Back
    links: list[RedisLink]

    async def attempt(self) -> Attempt:
        await self.front.chat()
        await self.front.submit("m1")
        return await self.back.lease()

    async def drain_until_lost(self) -> None:
        while not (await self.front.drain()).lost:
            pass


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    house = House()
    links = [RedisLink(place_of(house.url), LIMITS, name) for name in ("gateway", "worker-1")]
    for link in links:
        await link.connect()
    front, back = Front(GatewaySide(links[0], "gateway")), Back(WorkerSide(links[1], "worker-1"))
    await front.drain()
    yield Peers(house, front, back, links)
    await links[0].close("leave_gateway", "gateway")
    await links[1].close("leave_worker", "worker-1")
    house.remove()


async def append_for_sure(back: Back, flush: Flush) -> list[Refusal]:
    """As workers do: the same again until its fate is known."""
    while True:
        try:
            return await back.side.append([flush])
        except BrokerUnavailable:
            await asyncio.sleep(0.05)


async def test_the_promoted_replica_takes_over_and_what_is_lost_is_said(peers: Peers) -> None:
    attempt = await peers.attempt()
    await attempt.add("kept ")
    await peers.front.drain_until(lambda: peers.front.items)
    peers.house.until_replicated()
    epoch = peers.front.batches[-1].epoch
    peers.house.lose_replication()
    await attempt.add("lost ")
    await peers.front.drain_until(lambda: len(peers.front.items) == 2)
    seen = peers.front.items[-1].cursor
    peers.house.master.kill()
    peers.house.replica.go_on()
    await peers.drain_until_lost()
    assert peers.house.promoted
    assert peers.front.batches[-1].epoch == epoch  # the same memory, less its end
    page = (await peers.front.side.attach("s", seen)).page
    assert (page.recovered, text_of(page.items)) == (False, "kept ")
    assert [refusal.reason for refusal in await append_for_sure(peers.back, attempt.flush("more"))] == ["fenced"]
    peers.back.held = []  # a worker drops what is fenced
    heir = await peers.back.lease()
    assert (heir.lease.text, heir.lease.attempt) == ("kept ", 2)
    assert heir.lease.number > attempt.lease.number + 1000  # what the lost writes gave names nothing now
    await heir.add("again", end=True)
    assert text_of(await peers.front.kept()) == "kept again"


async def test_what_was_replicated_goes_on_where_it_was(peers: Peers) -> None:
    """A flush whose answer the dead master owes is written once."""
    attempt = await peers.attempt()
    await attempt.add("before ")
    await peers.front.drain_until(lambda: peers.front.items)
    peers.house.until_replicated()
    peers.house.master.kill()
    flush = attempt.flush("after ", end=True)
    assert await append_for_sure(peers.back, flush) == []
    assert await append_for_sure(peers.back, flush) == []
    await peers.drain_until_lost()
    attached = await peers.front.side.attach("s", peers.front.items[-1].cursor)
    assert (attached.page.recovered, text_of(attached.page.items)) == (True, "after ")
    assert [link.trouble for link in peers.links] == ["", ""]


async def test_a_token_spent_on_the_former_master_is_not_good(peers: Peers) -> None:
    """Its spending may not have been replicated."""
    front = peers.front
    epoch = (await front.side.stats()).epoch
    peers.house.master.kill()
    await peers.drain_until_lost()
    assert await front.side.spend("ticket", "ann", epoch, 30.0) is False
    assert await front.side.spend("ticket", "ann", (await front.side.stats()).epoch, 30.0) is True


@pytest.mark.slow  # sentinels take their time to demote it
@pytest.mark.timeout(60)
async def test_a_master_that_hangs_is_left_and_its_awakening_changes_nothing(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent to it is still in its sockets then."""
    monkeypatch.setattr(exchange, "STALLED", 0.5)
    monkeypatch.setattr("shared.brokers.redis.wire.CONNECT_SECONDS", 0.3)
    attempt = await peers.attempt()
    await attempt.add("before ")
    await peers.front.drain_until(lambda: peers.front.items)
    peers.house.until_replicated()
    peers.house.master.pause()
    assert await append_for_sure(peers.back, attempt.flush("after ", end=True)) == []
    await peers.drain_until_lost()
    peers.house.master.go_on()
    until(lambda: peers.house.master.run("INFO", "replication")["role"] == "slave", "its demotion")
    attached = await peers.front.side.attach("s", peers.front.items[-1].cursor)
    assert (attached.page.recovered, text_of(attached.page.items)) == (True, "after ")
    assert text_of(await peers.front.kept()) == "before after "


async def test_a_master_that_was_a_replica_meanwhile_has_another_life(peers: Peers) -> None:
    """Even where nobody has spoken to the one in between: the same process may lack what it had before."""
    house, epoch = peers.house, (await peers.front.side.stats()).epoch
    for sentinel in house.sentinels:
        sentinel.kill()  # what follows is done by hand
    peers.links[0].broken("as if the network were away")
    house.replica.run("REPLICAOF", "NO", "ONE")
    house.master.run("REPLICAOF", "127.0.0.1", house.replica.port)
    until(lambda: house.master.run("INFO", "replication")["master_link_status"] == "up", "a replica")
    house.master.run("REPLICAOF", "NO", "ONE")
    for sentinel in house.sentinels:
        sentinel.start()
    await peers.drain_until_lost()
    assert (await peers.front.side.stats()).epoch != epoch


async def test_the_usual_way_to_open_a_broker_knows_them(single: RedisServer) -> None:
    single.empty()
    sentinel = Sentinel(single, 1, 5.0)
    chosen = settings(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster")
    assert isinstance(place_of(chosen.broker.url), Sentinels)
    front = Front(await open_gateway_broker(chosen, "gateway"))
    back = Back(await open_worker_broker(chosen, "worker"))
    await front.drain()
    await front.chat()
    await front.submit("m1")
    await (await back.lease()).add("text", end=True)
    await front.drain_end("m1")
    assert text_of(front.items) == "text"
    await front.side.close()
    await back.side.close()
    sentinel.remove()
