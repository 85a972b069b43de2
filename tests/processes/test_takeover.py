"""Workers that die, and what becomes of what they were writing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.processes import lab
from tests.processes.client import JsonClient, echo_of, sha256, text_of
from tests.processes.service import Gateway, Process, running_service

pytestmark = pytest.mark.timeout(60)
NEIGHBOURS = 20


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("takeover")


@pytest.fixture(scope="module")
def tiers(directory: Path) -> Iterator[tuple[Gateway, Process]]:
    """A gateway, and a worker with one engine process."""
    with running_service(directory, **lab.install(directory), LLM_CHAT_ECHO_INTERVAL="0.3") as service:
        gateway = service.gateway()
        worker = service.worker()
        service.ready(gateway)
        yield gateway, worker


@pytest.fixture
async def clients(tiers: tuple[Gateway, Process]) -> AsyncIterator[list[JsonClient]]:
    """Some connections."""
    clients = [await JsonClient.open(tiers[0].ws) for _ in range(NEIGHBOURS + 1)]
    yield clients
    for client in clients:
        await client.close()


async def test_an_engine_that_cannot_go_on_starts_again_and_says_so(tiers: tuple[Gateway, Process]) -> None:
    gateway, worker = tiers
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content="forget it")
    async with connect(gateway.ws) as plain:
        await plain.send("forget me")
        assert await plain.recv() == "chunk 1: forget me"
        assert await plain.recv() == "chunk 2: forget me"
        [engine] = worker.children()
        engine.kill()
        frames = [str(await asyncio.wait_for(plain.recv(), 10)) for _ in range(6)]
    assert frames[0].startswith("error: restarted: ")
    assert frames[1:] == [f"chunk {i}: forget me" for i in range(1, 6)]
    done = await client.until("done")
    takeover = next(event for event in client.log if event["type"] == "takeover")
    assert (takeover["exact"], takeover["attempt"]) == (False, 2)
    assert text_of(client.log) == echo_of("forget it")
    assert done["text_sha256"] == sha256(echo_of("forget it"))
    assert done["usage"]["completion_tokens"] == 5
    await client.close()


@pytest.mark.parametrize(("poison", "kills"), [("poison", 3), pytest.param("venom", 4, marks=pytest.mark.slow)])
async def test_a_poison_message_takes_nobody_with_it(
    directory: Path, tiers: tuple[Gateway, Process], clients: list[JsonClient], poison: str, kills: int
) -> None:
    """It kills its process at once, or always at the same piece: those that run beside it go on, in another process."""
    for number, client in enumerate(clients[1:]):
        await client.say("message", id="m1", content=f"calm {number} {poison}")
    for client in clients[1:]:
        await client.until("delta")
    await clients[0].say("message", id="m1", content=poison)
    error, *dones = await asyncio.gather(*(client.until("done", "error", seconds=40) for client in clients))
    assert (error["type"], error.get("code"), error["retryable"]) == ("error", "worker_lost", True)
    assert "cursor" in error
    assert [done["type"] for done in dones] == ["done"] * NEIGHBOURS
    for number, (client, done) in enumerate(zip(clients[1:], dones, strict=True)):
        assert text_of(client.log) == echo_of(f"calm {number} {poison}")
        assert done["text_sha256"] == sha256(echo_of(f"calm {number} {poison}"))
    killed = [note.pid for note in lab.notes(directory, poison) if note.what == "start"]
    assert len(set(killed)) == len(killed) == kills
    hit = [[note.pid for note in lab.notes(directory, f"calm {number} {poison}")] for number in range(NEIGHBOURS)]
    assert all(killed[0] in pids for pids in hit)  # they did run beside it
    assert all(killed[-1] not in pids or pids[-1] == killed[-1] for pids in hit)  # the last time nobody was taken along
