"""A real model server behind the whole service: llama.cpp, over a tiny model that the test makes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from tests.llama import MODEL, llama_server
from tests.processes.client import JsonClient, events, sha256, text_of
from tests.processes.service import Gateway, running_service

pytestmark = pytest.mark.timeout(60)
PROMPT = "Tell me a story."
LONG = 2_000  # tokens: they take long enough to kill somebody meanwhile


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One slot: whoever holds it keeps all others waiting."""
    with llama_server(tmp_path_factory.mktemp("llama"), slots=1) as base_url:
        yield base_url


@pytest.fixture
def gateway(llama: str, tmp_path: Path) -> Iterator[Gateway]:
    """The service, with its worker pointed at that server."""
    with running_service(tmp_path, LLM_CHAT_ENGINE="openai", LLM_CHAT_OPENAI_BASE_URL=llama) as service:
        gateway = service.gateway()
        service.worker()
        service.ready(gateway)
        yield gateway


async def asked_directly(llama: str, **params: Any) -> str:
    """What the server says to somebody who asks it without us, and without streaming."""
    body = {"messages": [{"role": "user", "content": PROMPT}], **params}
    async with httpx2.AsyncClient(timeout=10) as http:
        answer = await http.post(f"{llama}/chat/completions", json=body)
    return str(answer.json()["choices"][0]["message"]["content"])


async def test_the_text_is_what_the_server_says_when_asked_directly(llama: str, gateway: Gateway) -> None:
    expected = await asked_directly(llama, temperature=0, max_tokens=200)
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content=PROMPT, params={"temperature": 0, "max_tokens": 200})
    done = await client.until("done")
    assert len(expected) > 50
    assert text_of(client.log) == expected
    assert done["text_sha256"] == sha256(expected)
    assert done["finish_reason"] == "length"
    assert done["usage"]["completion_tokens"] == 200
    assert done["usage"]["estimated"] is False
    assert events(client.log)[0]["model"] == MODEL
    await client.close()


async def test_plain_text_streams_too(gateway: Gateway) -> None:
    async with connect(gateway.ws) as socket:
        await socket.send(PROMPT)
        frames = [await asyncio.wait_for(socket.recv(), 10) for _ in range(20)]
    assert all(frames)


async def test_stop_ends_the_request_at_the_model_server(llama: str, gateway: Gateway) -> None:
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content=PROMPT, params={"max_tokens": 30_000})
    await client.until("delta")
    async with httpx2.AsyncClient(timeout=10) as http:
        assert await _is_generating(http, llama)
        await client.say("cancel", id="m1")
        done = await client.until("done")
        async with asyncio.timeout(2):
            while await _is_generating(http, llama):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.02)
    assert done["finish_reason"] == "cancelled"
    assert done["receipt"]["delivered"] == sum(event["type"] == "delta" for event in client.log)
    assert done["text_sha256"] == sha256(text_of(client.log))
    await client.close()


@pytest.mark.parametrize("continues", [True, False])
async def test_the_worker_is_killed_in_mid_stream(llama: str, tmp_path: Path, continues: bool) -> None:
    """Nothing is drawn and flash attention is off, so that the server writes the same whether it goes on or begins
    again. Behind a space it always begins again: then it is killed once more."""
    expected = await asked_directly(llama, temperature=0, max_tokens=LONG)
    settings = {"LLM_CHAT_ENGINE": "openai", "LLM_CHAT_OPENAI_BASE_URL": llama}
    with running_service(tmp_path, LLM_CHAT_OPENAI_CONTINUES=str(continues), **settings) as service:
        gateway, worker = service.gateway(), service.worker()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        for attempt in range(1, 4):
            id = f"m{attempt}"
            await client.say("message", id=id, content=PROMPT, params={"temperature": 0, "max_tokens": LONG})
            await client.until("delta")
            [engine] = worker.children()
            engine.kill()
            done = await client.until("done")
            log = [frame for frame in client.log if frame.get("id") == id]
            place = next(place for place, frame in enumerate(log) if frame["type"] == "takeover")
            stood = text_of(log[:place])
            if not (continues and stood.endswith(" ")):
                break
        await client.close()
    assert 0 < len(stood) < LONG
    assert log[place]["exact"] is continues
    assert log[place + 1]["text"] == expected[len(stood) if continues else 0]
    assert text_of(log) == expected
    assert done["text_sha256"] == sha256(expected)
    assert done["finish_reason"] == "length"
    assert done["usage"]["completion_tokens"] == LONG
    assert done["usage"]["estimated"] is continues


async def test_a_server_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    settings = {"LLM_CHAT_ENGINE": "openai", "LLM_CHAT_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    with running_service(
        tmp_path, LLM_CHAT_OPENAI_API_KEY="sk-secret", LLM_CHAT_OPENAI_RETRIES="0", **settings
    ) as service:
        gateway = service.gateway()
        worker = service.worker()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        await client.say("message", id="m1", content="hello")
        error = await client.until("error")
        await client.close()
        assert (error["code"], error["id"]) == ("engine_unavailable", "m1")
        assert "cursor" in error
        for text in (error["message"], worker.text(), gateway.process.text()):
            assert "sk-secret" not in text
            assert "Traceback" not in text
        assert "127.0.0.1" not in error["message"]


async def _is_generating(http: httpx2.AsyncClient, llama: str) -> bool:
    slots = (await http.get(f"{llama.removesuffix('/v1')}/slots")).json()
    return any(slot["is_processing"] for slot in slots)
