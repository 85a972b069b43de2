"""Stop, from wherever it comes and wherever the reply is: the worker's own notes must say the same as the receipt."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import lab
from tests.processes.client import JsonClient, sha256, text_of
from tests.processes.service import Gateway, Service, running_service

pytestmark = pytest.mark.timeout(60)
SLOTS = 6
INTERVAL = 0.002  # seconds between two pieces
ONE_FLUSH = 25  # pieces: what the engine makes in 50 ms, which is many times what a flush takes
PATIENCE = 5.0  # seconds after which a gateway says that the broker does not answer
Tiers = tuple[Service, list[Gateway]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stop")


@pytest.fixture(scope="module")
def tiers(directory: Path) -> Iterator[Tiers]:
    """Two gateways, and a worker that never comes to an end by itself."""
    settings = {"LLM_CHAT_ECHO_INTERVAL": str(INTERVAL), "LLM_CHAT_ECHO_CHUNKS": "1000000"}
    with running_service(directory, **lab.install(directory), **settings) as service:
        gateways = [service.gateway(), service.gateway()]
        service.worker(LLM_CHAT_WORKER_SLOTS=str(SLOTS))
        for gateway in gateways:
            service.ready(gateway)
        yield service, gateways


@pytest.fixture
async def client(tiers: Tiers) -> AsyncIterator[JsonClient]:
    client = await JsonClient.open(tiers[1][0].ws)
    yield client
    await client.close()


async def ask(client: JsonClient, content: str, id: str = "m1", wait: str = "delta") -> None:
    """Send a message and read on to such a frame."""
    await client.say("message", id=id, content=content)
    await client.until(wait)


async def stopped(client: JsonClient, id: str = "m1", seconds: float = 10.0) -> dict[str, Any]:
    """The terminal of a reply that was stopped; nothing may follow it."""
    while (frame := await client.until("done", seconds=seconds))["id"] != id:
        pass
    assert frame["finish_reason"] == "cancelled"
    log = [event for event in client.log if event.get("id") == id]
    assert frame["text_sha256"] == sha256(text_of(log))
    assert frame["receipt"]["delivered"] == sum(event["type"] == "delta" for event in log)
    return frame


async def settled(directory: Path, message: str) -> list[str]:
    """What the engine did for it, once it has had time to do more."""
    before = [note.what for note in lab.notes(directory, message)]
    await asyncio.sleep(INTERVAL * 50)
    after = [note.what for note in lab.notes(directory, message)]
    assert after == before
    return after


async def test_in_mid_stream(directory: Path, client: JsonClient) -> None:
    await ask(client, "calm stream")
    for _ in range(50):
        await client.until("delta")
    await client.say("cancel", id="m1")
    receipt = (await stopped(client))["receipt"]
    did = await settled(directory, "calm stream")
    assert did == ["start", *["piece"] * receipt["generated"], "abort"]
    assert 0 <= receipt["generated"] - receipt["delivered"] <= ONE_FLUSH
    assert receipt["stop_ms"] < 1000
    with pytest.raises(TimeoutError):
        await client.next(0.1)


async def test_before_the_first_token(directory: Path, client: JsonClient) -> None:
    await ask(client, "mute early", wait="started")
    await client.say("cancel", id="m1")
    receipt = (await stopped(client))["receipt"]
    assert (receipt["generated"], receipt["delivered"]) == (0, 0)
    assert await settled(directory, "mute early") == ["start", "abort"]


async def test_from_another_connection_on_another_gateway(directory: Path, tiers: Tiers, client: JsonClient) -> None:
    await ask(client, "calm elsewhere")
    other = await JsonClient.open(tiers[1][1].ws)
    await other.say("resume", session_id=client.log[0]["session_id"])
    await other.until("delta")
    await other.say("cancel", id="m1")
    done = await stopped(client)
    assert await stopped(other) == done
    did = await settled(directory, "calm elsewhere")
    assert did == ["start", *["piece"] * done["receipt"]["generated"], "abort"]
    await other.close()


async def test_while_it_waits_in_the_queue(directory: Path, tiers: Tiers, client: JsonClient) -> None:
    busy = [await JsonClient.open(tiers[1][0].ws) for _ in range(SLOTS)]
    for number, one in enumerate(busy):
        await ask(one, f"mute {number}", wait="started")
    await ask(client, "calm queued", wait="accepted")
    with pytest.raises(TimeoutError):
        await client.next(0.2)  # no worker takes it
    await client.say("cancel", id="m1")
    receipt = (await stopped(client))["receipt"]
    assert receipt == {"generated": 0, "delivered": 0, "stop_ms": 0}
    for one in busy:
        await one.say("cancel", id="m1")
        await stopped(one)
        await one.close()
    assert await settled(directory, "calm queued") == []


async def test_while_it_waits_in_the_line(directory: Path, client: JsonClient) -> None:
    await ask(client, "mute first", wait="started")
    for id in ("m2", "m3"):
        await client.say("message", id=id, content=f"calm {id}")
    await client.say("cancel", id="m2")
    await client.say("cancel", id="m1")
    await stopped(client)
    receipt = (await stopped(client, "m2"))["receipt"]
    assert receipt == {"generated": 0, "delivered": 0, "stop_ms": 0}
    while not any(event["type"] == "delta" for event in client.log):
        await client.next()
    await client.say("cancel", id="m3")
    await stopped(client, "m3")
    assert await settled(directory, "calm m2") == []
    assert "piece" in await settled(directory, "calm m3")


async def test_while_the_broker_is_away_for_longer_than_anybody_waits(
    directory: Path, tiers: Tiers, client: JsonClient
) -> None:
    """A cancel that had no answer gets through all the same; also that of somebody who has left in the meantime."""
    service, gateways = tiers
    late, last, leaver = [await JsonClient.open(gateway.ws) for gateway in (gateways[1], *gateways)]
    for name, one in {"early": client, "late": late, "last": last, "leaver": leaver}.items():
        await ask(one, f"calm {name}")
    broker = service.broker_process()
    assert broker is not None
    broker.suspend()
    try:
        began = asyncio.get_running_loop().time()
        await client.say("cancel", id="m1")
        await asyncio.sleep(2.0)  # in which a gateway asks after silent sessions: behind that, all calls wait
        await late.say("cancel", id="m1")
        await leaver.say("cancel", id="m1")
        await leaver.close()
        for one in (client, late):
            error = await one.until("error")
            assert (error["code"], error["id"]) == ("broker_unavailable", "m1")
            assert "cursor" not in error
        assert asyncio.get_running_loop().time() - began > 2.0 + PATIENCE - 1.0
        await last.say("cancel", id="m1")
    finally:
        broker.resume()
    for name, one in {"early": client, "late": late, "last": last}.items():
        receipt = (await stopped(one))["receipt"]
        did = await settled(directory, f"calm {name}")
        assert did == ["start", *["piece"] * receipt["generated"], "abort"]
        assert sum(frame["type"] == "error" for frame in one.log) == (one is not last)
    async with asyncio.timeout(5.0):
        while lab.notes(directory, "calm leaver")[-1].what != "abort":  # noqa: ASYNC110  # it is in another process
            await asyncio.sleep(INTERVAL)
    assert (await settled(directory, "calm leaver"))[-1] == "abort"
    await late.close()
    await last.close()
