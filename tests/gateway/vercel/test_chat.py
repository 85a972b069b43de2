"""The AI SDK's stream, part by part; and the SDK itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.vercel.chat import session_of
from shared.errors import EngineError
from shared.messages import Receipt
from shared.request import decode_request
from tests.clients.environments import node_with
from tests.gateway.housing import OWNER, House, house
from tests.gateway.rest.sse import EventReader
from tests.gateway.serving import until
from tests.gateway.writing import Run
from tests.memory_store import MemoryStore

PARTS = "x-vercel-ai-ui-message-stream"


def message(role: str, text: str, id: str = "u1") -> dict[str, Any]:
    return {"id": id, "role": role, "parts": [{"type": "text", "text": text}]}


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "chat-1", "messages": list(messages or [message("user", "Hello")]), **more}


@asynccontextmanager
async def asking(
    here: House, wanted: dict[str, Any], gate: int = 0
) -> AsyncIterator[tuple[httpx2.Response, EventReader]]:
    async with here.gates[gate].client.stream("POST", "/api/chat", json=wanted) as response:
        reader = EventReader(response)
        yield response, reader
        await reader.close()


async def parts(reader: EventReader) -> list[dict[str, Any] | str]:
    """All that are left."""
    return [event.data if event.data == "[DONE]" else event.frame for event in await reader.rest()]


async def test_a_reply_in_parts() -> None:
    async with house() as here, asking(here, body()) as (response, reader):
        run = await here.run()
        run.say("one")
        run.done("\ntwo")

        assert await parts(reader) == [
            {"type": "start", "messageId": "reply-u1"},
            {"type": "start-step"},
            {"type": "text-start", "id": "text-1"},
            {"type": "text-delta", "id": "text-1", "delta": "one"},
            {"type": "text-delta", "id": "text-1", "delta": "\ntwo"},
            {"type": "text-end", "id": "text-1"},
            {"type": "finish-step"},
            {"type": "finish", "finishReason": "stop"},
            "[DONE]",
        ]
        assert response.headers[PARTS] == "v1"
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (await here.client.get("/api/chat/chat-1/stream")).status_code == 204


async def test_the_messages_are_the_context() -> None:
    earlier = [message("system", "Be kind."), message("user", "a", "u0"), message("assistant", "b", "x")]
    async with house() as here, asking(here, body(*earlier, message("user", "c"), model="m")) as (_, reader):
        run = await here.run()
        request = decode_request(run.lease.request)
        run.done()
        await reader.rest()

    assert [(turn.role, turn.content) for turn in request.turns] == [
        ("system", "Be kind."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]
    assert request.model == "m"


@pytest.mark.parametrize("gate", [0, 1])
async def test_a_reply_whose_reader_has_gone_is_resumed_from_its_beginning(gate: int) -> None:
    async with house(gateways=2) as here:
        async with asking(here, body()) as (_, reader):
            run = await here.run()
            run.say("one")
            await reader.take(4)
        await until(lambda: len(here.gate.hub) == 0)
        run.say("two")
        async with here.gates[gate].client.stream("GET", "/api/chat/chat-1/stream") as response:
            reader = EventReader(response)
            seen = await reader.take(5)
            run.done("three")
            rest = await parts(reader)

    assert response.headers[PARTS] == "v1"
    assert [event.frame["type"] for event in seen] == ["start", "start-step", "text-start", "text-delta", "text-delta"]
    assert seen[0].frame["messageId"] == "reply-u1"
    assert [one["delta"] for one in (*(event.frame for event in seen), *rest[:1]) if "delta" in one] == [  # type: ignore[index]
        "one",
        "two",
        "three",
    ]
    assert rest[-2:] == [{"type": "finish", "finishReason": "stop"}, "[DONE]"]


async def test_a_stop_ends_the_reply_for_all_its_readers() -> None:
    async with house(gateways=2) as here, asking(here, body()) as (_, reader):
        run = await here.run()
        run.say("one")
        await reader.take(4)
        stopping = asyncio.create_task(here.gates[1].client.post("/api/chat/chat-1/stop"))
        session = here.memory.state._sessions[session_of("", "chat-1")]
        await until(lambda: bool(session.replies["u1"].cancel_at))
        run.done(reason="cancelled", receipt=Receipt(1, 1, 5))
        answer = await stopping

        assert (answer.status_code, answer.json()["finish_reason"]) == (200, "cancelled")
        assert answer.json()["receipt"]["stop_ms"] == 5
        assert await parts(reader) == [
            {"type": "text-end", "id": "text-1"},
            {"type": "abort", "reason": "cancelled"},
            "[DONE]",
        ]
        assert (await here.client.post("/api/chat/chat-1/stop")).status_code == 204
        assert (await here.client.post("/api/chat/unknown/stop")).status_code == 204


@pytest.mark.parametrize(
    ("happens", "word"),
    [
        (lambda here, run: run.failed(EngineError()), "could not finish"),
        (lambda here, run: (here.worker.die(), here.worker.take_one().say("anew", exact=False)), "begun anew"),
    ],
    ids=["failure", "restart"],
)
async def test_what_cannot_be_taken_back_ends_the_stream_in_an_error(
    happens: Callable[[House, Run], object], word: str
) -> None:
    async with house() as here, asking(here, body()) as (_, reader):
        run = await here.run()
        run.say("one")
        await reader.take(4)
        happens(here, run)

        error, end = await parts(reader)
        assert isinstance(error, dict)
        assert (error["type"], end) == ("error", "[DONE]")
        assert word in error["errorText"]


async def test_what_was_begun_anew_is_resumed_without_what_is_void() -> None:
    async with house() as here:
        for id in ("u0", "u1"):
            async with asking(here, body(message("user", "Hello", id))) as (_, reader):
                run = await here.run()
                run.say("void")
                await reader.take(4)
                if id == "u0":
                    run.done()
                    await reader.rest()
        here.worker.die()
        run = here.worker.take_one()
        run.say("anew", exact=False)
        async with here.client.stream("GET", "/api/chat/chat-1/stream") as response:
            reader = EventReader(response)
            seen = await reader.take(4)
            run.done(" and on")
            seen += (await reader.rest())[:1]

    assert [event.frame.get("delta") for event in seen] == [None, None, None, "anew", " and on"]
    assert seen[0].frame["messageId"] == "reply-u1"


async def test_a_restart_before_the_first_text_and_an_exact_one_are_not_seen() -> None:
    async with house() as here, asking(here, body()) as (_, reader):
        run = await here.run()
        run.say()
        here.worker.die()
        run = here.worker.take_one()
        run.say("one", exact=False)
        here.worker.die()
        here.worker.take_one().done("two", exact=True)

        texts = [part["delta"] for part in await parts(reader) if isinstance(part, dict) and "delta" in part]
        assert texts == ["one", "two"]


async def test_the_stop_of_the_gateway_is_said() -> None:
    async with house(servers=True) as here, asking(here, body()) as (_, reader):
        (await here.run()).say("one")
        await reader.take(4)
        stopping = asyncio.create_task(here.gate.stop())

        (error,) = await parts(reader)
        assert isinstance(error, dict)
        assert error["type"] == "error"
        await stopping


async def test_the_same_message_again_is_the_same_reply_and_a_regenerated_one_another() -> None:
    async with house() as here:
        for wanted in (body(), body(), body(trigger="regenerate-message"), body(messageId="u1")):
            async with asking(here, wanted) as (_, reader):
                for run in here.worker.take():
                    run.done("one")
                texts = [part["delta"] for part in await parts(reader) if isinstance(part, dict) and "delta" in part]
            assert texts == ["one"]
        ids = list(here.memory.state._sessions[session_of("", "chat-1")].replies)

    assert len(ids) == 3
    assert ids[0] == "u1"
    assert all(id.startswith("u1~") for id in ids[1:])


async def test_the_first_message_edited_begins_anew_whatever_is_stored() -> None:
    async with house(store=MemoryStore()) as here:
        said = []
        for wanted in (body(message("user", "Hello")), body(message("user", "Bye"), messageId="u1")):
            async with asking(here, wanted) as (_, reader):
                run = await here.run()
                said.append([turn.content for turn in decode_request(run.lease.request).turns])
                run.done("one")
                await parts(reader)
    assert said == [["Hello"], ["Bye"]]


async def test_two_owners_equal_ids_never_meet() -> None:
    async with house() as here, asking(here, body()) as (_, reader):
        run = await here.run()
        run.say("secret")
        await reader.take(4)
        strange = await here.client.get("/api/chat/chat-1/stream", headers={OWNER: "bob"})
        assert strange.status_code == 204
        assert (await here.client.post("/api/chat/chat-1/stop", headers={OWNER: "bob"})).status_code == 204
        mine = here.client.stream("POST", "/api/chat", json=body(), headers={OWNER: "bob"})
        async with mine as response:
            assert [one.lease.id for one in [await here.run()]] == ["u1"]
            events = await EventReader(response).take(2)
        assert "secret" not in str(events)
        run.done()
        await reader.rest()


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "id"),
    ({"id": "c"}, "messages"),
    ({"id": "c", "messages": []}, "messages"),
    ({"id": "", "messages": [message("user", "x")]}, "id"),
    (body(message("robot", "x")), "role"),
    (body(message("assistant", "x")), "user's"),
    (body(message("user", "")), "no text"),
    (body({"id": "u", "role": "user", "parts": [{"type": "file", "url": "data:,x"}]}), "files"),
    (body({"id": "u", "role": "user", "parts": "x"}), "parts"),
    (body(trigger="resume-stream"), "trigger"),
]


async def test_bad_bodies() -> None:
    async with house() as here:
        for wanted, word in BAD:
            answer = await here.client.post("/api/chat", json=wanted)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")
            assert word in answer.json()["message"]


async def test_other_refusals() -> None:
    async with house() as here:
        assert (await here.client.post("/api/chat", json=body(message("user", "x" * 65_537)))).status_code == 413
        assert (await here.client.get("/api/chat")).status_code == 405
        assert (await here.client.post("/api/chat", content=b"{}")).status_code == 415
        for odd in ("a%2Fb", "%0A", "%00", "..%2F"):
            assert (await here.client.post(f"/api/chat/{odd}/stop")).status_code == 204


# --- the SDK itself --

SCRIPT = Path(__file__).parent / "chat.mjs"


class Sdk:
    """`useChat` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, order: str, **more: str) -> dict[str, Any]:
        """Returns the chat as it is then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": order, **more}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 15)
        found: dict[str, Any] = json.loads(line)
        return found

    @staticmethod
    def texts(chat: dict[str, Any]) -> list[tuple[str, str]]:
        return [(one["role"], one["text"]) for one in chat["messages"]]


@asynccontextmanager
async def sdk(here: House, chat: str) -> AsyncIterator[Sdk]:
    modules = str(node_with("ai@^6.0.326"))
    url = f"http://127.0.0.1:{here.gate.port}/api/chat"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", str(SCRIPT), modules, url, chat, stdin=pipe, stdout=pipe)
    try:
        yield Sdk(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)


@pytest.mark.timeout(180)  # it may have to be installed
async def test_the_sdk_chats_drops_resumes_and_regenerates() -> None:
    async with house() as here, sdk(here, "chat/1 ü") as client:
        sending = asyncio.create_task(client.do("send", text="Hello"))
        run = await here.run()
        run.say("one")
        run.done(" two")
        chat = await sending
        assert Sdk.texts(chat) == [("user", "Hello"), ("assistant", "one two")]
        assert (chat["status"], chat["error"]) == ("ready", None)

        beginning = asyncio.create_task(client.do("begin", text="And?", until="half"))
        run = await here.run()
        assert [turn.content for turn in decode_request(run.lease.request).turns] == ["Hello", "one two", "And?"]
        run.say("half")
        await beginning
        await client.do("drop")
        resuming = asyncio.create_task(client.do("resume", until="whole"))
        await until(lambda: len(here.gate.hub) == 1)
        run.done(" and whole")
        assert Sdk.texts(await resuming)[2:] == [("user", "And?"), ("assistant", "half and whole")]
        assert (await client.do("resume"))["status"] == "ready"

        again = asyncio.create_task(client.do("regenerate"))
        (await here.run()).done("another")
        assert Sdk.texts(await again)[2:] == [("user", "And?"), ("assistant", "another")]

        failing = asyncio.create_task(client.do("send", text="Fail"))
        (await here.run()).failed(EngineError())
        chat = await failing
        assert (chat["status"], chat["error"]) == ("error", EngineError.sentence)
