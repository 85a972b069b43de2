"""Conversations that outlive every process of the service."""

import asyncio
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.store import StoredTurn
from shared.store.opening import open_sql
from tests.postgres import Cluster
from tests.processes import lab
from tests.processes.client import JsonClient, echo_of, sha256, text_of
from tests.processes.service import Process, Service, running_service

pytestmark = pytest.mark.timeout(60)
CONVERSATIONS, TURNS = 1_000, 20  # of the slow test
AT_ONCE = 100
BETWEEN_KILLS = 4.0  # seconds


def database_in(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/chat.db"


async def history(url: str, *sessions: str) -> list[list[StoredTurn]]:
    """What anybody finds in the database."""
    store = await open_sql(url)
    try:
        return [await store.turns(session) for session in sessions]
    finally:
        await store.close()


def prompt_tokens(*contents: str) -> int:
    """What the worker estimates for a context of these."""
    return -(-sum(map(len, contents)) // 4)


async def say(client: JsonClient, id: str, content: str) -> dict[str, Any]:
    """A whole turn; returns its `done`."""
    await client.say("message", id=id, content=content)
    return await client.until("done")


async def test_a_conversation_outlives_the_whole_service(tmp_path: Path) -> None:
    with running_service(
        tmp_path,
        **lab.install(tmp_path),  # an engine that reads what was said before
        LLM_CHAT_DATABASE_URL=database_in(tmp_path),
        LLM_CHAT_ECHO_INTERVAL="0.01",
    ) as service:
        service.worker()
        gateway = service.gateway()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        said: list[str] = []
        for id in ("m1", "m2", "m3"):
            done = await say(client, id, f"this is {id}")
            assert done["usage"]["prompt_tokens"] == prompt_tokens(*said, f"this is {id}")
            said += [f"this is {id}", echo_of(f"this is {id}")]
        session, last = client.log[0]["session_id"], client.log[-1]["cursor"]
        await client.close()
        service.end()

        (turns,) = await history(database_in(tmp_path), session)
        assert [turn.answer and turn.answer.text for turn in turns] == said[1::2]
        assert (tmp_path / "chat.db").stat().st_mode & 0o777 == 0o600

        service.worker()
        gateway = service.gateway()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        await client.say("resume", session_id=session, after=last)
        answer = await client.next()
        done = await say(client, "m4", "and on")
        await client.close()

    assert (answer["type"], answer["recovered"], answer["open"]) == ("session", False, [])
    assert done["usage"]["prompt_tokens"] == prompt_tokens(*said, "and on")
    assert int(done["cursor"].split("-")[0]) > int(last.split("-")[0])
    (turns,) = await history(database_in(tmp_path), session)
    assert [turn.question.id for turn in turns] == ["m1", "m2", "m3", "m4"]
    assert turns[-1].answer is not None
    assert turns[-1].answer.text == echo_of("and on")


@pytest.mark.slow
async def test_a_server_that_goes_away_under_a_reply_and_comes_back(tmp_path: Path, cluster: Cluster) -> None:
    url = await cluster.fresh()
    with running_service(tmp_path, LLM_CHAT_DATABASE_URL=url, LLM_CHAT_ECHO_INTERVAL="0.3") as service:
        service.worker()
        gateway = service.gateway()
        service.ready(gateway)
        client, other = await JsonClient.open(gateway.ws), await JsonClient.open(gateway.ws)
        await client.say("message", id="m1", content="patience")
        await client.until("delta")
        cluster.kill()

        await other.say("message", id="m1", content="too early")
        refused = await other.until("error")
        assert (refused["code"], refused["retryable"]) == ("store_unavailable", True)
        while text_of(client.log) != echo_of("patience"):
            await client.until("delta")  # all of it, though it cannot be stored
        with pytest.raises(TimeoutError):
            await client.next(1.5)
        assert gateway.get("/readyz") == (503, {"status": "unready", "reason": "the history cannot be written"})

        cluster.start()
        done = await client.until("done")
        assert done["text_sha256"] == sha256(echo_of("patience"))
        await say(other, "m1", "now")
        sessions = [client.log[0]["session_id"], other.log[0]["session_id"]]
        await client.close()
        await other.close()

    first, second = await history(url, *sessions)
    assert [turn.answer and sha256(turn.answer.text) for turn in first] == [done["text_sha256"]]
    assert [turn.question.content for turn in second] == ["now"]


async def converse(url: str, number: int) -> tuple[str, list[str]]:
    """A conversation of TURNS turns; returns its session and the hashes of the replies as the client holds them."""
    client = await JsonClient.open(url)
    hashes = []
    for turn in range(TURNS):
        begun = len(client.log)
        await client.say("message", id=f"m{turn}", content=f"{number}.{turn}")
        done = await client.until("done", seconds=60)
        text = text_of(client.log[begun:])
        assert done["text_sha256"] == sha256(text)
        hashes.append(done["text_sha256"])
    await client.close()
    return client.log[0]["session_id"], hashes


async def kill_workers(worker: Process) -> None:
    """One engine process after the other, for ever."""
    while True:
        await asyncio.sleep(BETWEEN_KILLS)
        with suppress(psutil.Error):
            engines = worker.children()
            if engines:
                random.choice(engines).send_signal(signal.SIGKILL)


async def under_kills(service: Service, conversations: int) -> list[tuple[str, list[str]]]:
    """That many, AT_ONCE at a time, while engine processes are killed."""
    gateway = service.gateway()
    worker = service.worker("--processes", "2")
    service.ready(gateway)
    turnstile = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> tuple[str, list[str]]:
        async with turnstile:
            return await converse(gateway.ws, number)

    killing = asyncio.ensure_future(kill_workers(worker))
    try:
        return await asyncio.gather(*map(one, range(conversations)))
    finally:
        killing.cancel()
        await asyncio.wait({killing})


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_the_history_is_what_clients_saw_under_kills_of_workers(tmp_path: Path) -> None:
    settings = {
        "LLM_CHAT_DATABASE_URL": database_in(tmp_path),
        "LLM_CHAT_ECHO_INTERVAL": "0.01",
        "LLM_CHAT_MAX_ATTEMPTS": "1000",
    }
    with running_service(tmp_path, **settings) as service:
        seen = await under_kills(service, CONVERSATIONS)

    stored = await history(database_in(tmp_path), *(session for session, _ in seen))
    assert [[sha256(turn.answer.text) if turn.answer is not None else None for turn in turns] for turns in stored] == [
        hashes for _, hashes in seen
    ]
    attempts = [turn.answer.attempt for turns in stored for turn in turns if turn.answer is not None]
    assert max(attempts) > 1  # some were hit
