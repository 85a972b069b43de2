"""Stored sessions over HTTP."""

import json
from typing import Any

import httpx2
import pytest

from shared.errors import EngineError, SessionNotFound
from shared.messages import Done, Failed, FinishReason, Receipt, Timing, Usage, text_sha256
from shared.request import Params, decode_request
from shared.store import Answer, Question, StoredSession
from tests.gateway.housing import OWNER, House, house
from tests.gateway.rest.sse import EventReader
from tests.gateway.serving import until
from tests.memory_store import MemoryStore


def done(text: str, reason: FinishReason = "stop") -> Done:
    receipt = Receipt(2, 1, 3) if reason == "cancelled" else None
    return Done(reason, Usage(1, 2, False), Timing(1, 2, 3), text_sha256(text), receipt)


async def fill(store: MemoryStore, session: str = "s_1", owner: str = "", at: int = 1_764_000_000_000) -> None:
    """A session with four messages: answered, cancelled, failed, open."""
    await store.open(StoredSession(session, owner, "A *title*", "Be kind.", "echo", at, at))
    for number in range(4):
        await store.ask(Question(session, f"m{number}", f"question {number}", None, Params(), at + number))
    failed = Failed(EngineError.code, "The model could not finish its reply.", True)
    ends: list[Done | Failed] = [done("one\ntwo"), done("half", "cancelled"), failed]
    for number, end in enumerate(ends):
        text = ("one\ntwo", "half", "a bit")[number]
        await store.answer(Answer(session, f"m{number}", at + number, 1, 3, "0123abcd", text, end, "echo", at + 9))


async def get(here: House, path: str, **headers: str) -> httpx2.Response:
    return await here.client.get(f"/api/sessions{path}", headers=headers)


async def test_sessions_are_listed_the_newest_first_page_by_page() -> None:
    store = MemoryStore()
    for number in range(7):
        await store.open(StoredSession(f"s_{number}", "", "", None, None, 0, 1000 + number % 5))
    await store.open(StoredSession("s_x", "somebody", "", None, None, 0, 5000))
    expected = [session.id for session in (await store.sessions("", 100)).sessions]
    async with house(store=store) as here:
        found, cursor, pages = [], "", 0
        while cursor is not None:
            page = (await get(here, f"?limit=3&cursor={cursor}")).json()
            found += [session["id"] for session in page["sessions"]]
            cursor, pages = page["next"], pages + 1

        assert (found, pages) == (expected, 3)
        assert [one["id"] for one in (await get(here, "", **{OWNER: "somebody"})).json()["sessions"]] == ["s_x"]


async def test_a_session_is_read_with_its_messages() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        session = (await get(here, "/s_1")).json()

    messages = session.pop("messages")
    at = 1_764_000_000_000
    assert session == {
        "id": "s_1",
        "title": "A *title*",
        "system": "Be kind.",
        "model": "echo",
        "created_ms": at,
        "updated_ms": at + 3,
    }
    assert [(one["id"], one["content"]) for one in messages] == [(f"m{n}", f"question {n}") for n in range(4)]
    replies = [one["reply"] for one in messages]
    assert [reply and reply["text"] for reply in replies] == ["one\ntwo", "half", "a bit", None]
    assert [reply["finish_reason"] for reply in replies[:3]] == ["stop", "cancelled", None]
    assert replies[0]["text_sha256"] == text_sha256("one\ntwo")
    assert replies[0]["cursor"] == f"{at}-1-3-0123abcd"
    assert replies[1]["receipt"] == {"generated": 2, "delivered": 1, "stop_ms": 3}
    assert replies[2]["error"]["code"] == "engine_error"


async def test_a_session_is_renamed() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        answer = await here.client.patch("/api/sessions/s_1", json={"title": "Another"})

        assert (answer.status_code, answer.json()["title"]) == (200, "Another")
        assert (await get(here, "/s_1")).json()["title"] == "Another"


async def test_a_session_is_exported_as_json() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        answer = await get(here, "/s_1/export")

        assert answer.json() == (await get(here, "/s_1")).json()
        assert answer.headers["content-disposition"] == 'attachment; filename="s_1.json"'


async def test_a_session_is_exported_as_markdown() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        answer = await get(here, "/s_1/export?format=markdown")

    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="s_1.md"'
    assert answer.text.split("\n\n") == [
        "# A *title*",
        "2025-11-24 16:00 UTC",
        "## System",
        "Be kind.",
        "## You",
        "question 0",
        "## Assistant (echo)",
        "one\ntwo",
        "## You",
        "question 1",
        "## Assistant (echo)",
        "half",
        "*(cancelled)*",
        "## You",
        "question 2",
        "## Assistant (echo)",
        "a bit",
        "*(ended early: The model could not finish its reply.)*",
        "## You",
        "question 3",
        "## Assistant",
        "*(no reply yet)*\n",
    ]


async def test_a_session_that_is_made_is_stored() -> None:
    store = MemoryStore()
    async with house(store=store) as here:
        answer = await here.client.post("/api/sessions", json={"system": "Be brief.", "model": "m", "title": "T"})
        id = answer.json()["session_id"]

        assert answer.status_code == 201
        assert answer.headers["location"] == f"/api/sessions/{id}"
        assert answer.json()["events"] == f"/api/sessions/{id}/events"
        kept = await store.session(id)
        assert (kept.title, kept.system, kept.model, kept.owner) == ("T", "Be brief.", "m", "")
        assert kept.created_ms > 1_700_000_000_000
        bare = await here.client.post("/api/sessions")
        assert bare.status_code == 201


async def test_a_conversation_over_http_lasts_and_is_the_context_of_its_next_message() -> None:
    store = MemoryStore()
    async with house(store=store) as here:
        session = await begun(here)
        for number in range(2):
            message = {"id": f"m{number}", "content": f"question {number}"}
            await here.client.post(f"/api/sessions/{session}/messages", json=message)
            run = await here.run()
            run.done(f"answer {number}")
            await until(lambda: here.memory.state.stats().running == 0)
        assert [turn.content for turn in decode_request(run.lease.request).turns] == ["question 1"]
        before = await store.context(session, "m1", decode_request(run.lease.request).room)
        assert before == [("question 0", "answer 0")]

        conversation = (await get(here, f"/{session}")).json()

        told = [(one["content"], one["reply"]["text"]) for one in conversation["messages"]]
        assert told == [("question 0", "answer 0"), ("question 1", "answer 1")]
        (listed,) = (await get(here, "")).json()["sessions"]
        assert (listed["id"], listed["title"]) == (session, "question 0")


async def test_a_session_that_only_the_store_knows_is_followed_and_goes_on() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here, here.client.stream("GET", "/api/sessions/s_1/events") as response:
        reader = EventReader(response)
        (first,) = await reader.take(1)
        assert first.frame["recovered"] is False, "take the transcript from the history"
        answer = await here.client.post("/api/sessions/s_1/messages", json={"id": "m9", "content": "And?"})
        assert answer.status_code == 202
        (await here.run()).done("so")
        assert [event.frame.get("text") for event in await reader.until("done")] == [None, "so", None]


# --- deletion --


async def begun(here: House, owner: str = "") -> str:
    answer = await here.client.post("/api/sessions", headers={OWNER: owner})
    return str(answer.json()["session_id"])


@pytest.mark.parametrize("stored", [True, False])
async def test_a_deleted_session_is_gone_everywhere_and_its_readers_hear_of_it(stored: bool) -> None:
    store = MemoryStore() if stored else None
    async with house(store=store, gateways=2) as here:
        session = await begun(here)
        await here.client.post(f"/api/sessions/{session}/messages", json={"id": "m1", "content": "Hello"})
        run = await here.run()
        run.say("text")
        other = here.gates[1].client
        async with other.stream("GET", f"/api/sessions/{session}/events") as response:
            reader = EventReader(response)
            await reader.until("delta")

            answer = await here.client.delete(f"/api/sessions/{session}")

            (last,) = await reader.rest()
        assert (answer.status_code, answer.content) == (204, b"")
        assert (last.type, last.frame["code"], last.id) == ("error", "session_not_found", reader.last_id)
        assert [refusal.reason for refusal in run.say("more")] == ["fenced"]
        for path in ("", "/export", "/events"):
            gone = await other.get(f"/api/sessions/{session}{path}")
            assert gone.status_code == 404
        assert (await here.client.delete(f"/api/sessions/{session}")).status_code == 404
        late = await other.post(f"/api/sessions/{session}/messages", json={"id": "m2", "content": "Hello"})
        assert (late.status_code, late.json()["code"]) == (404, "session_not_found")
        assert here.memory.state.stats().sessions == 0
        if store is not None:
            with pytest.raises(SessionNotFound):
                await store.session(session)


async def test_anothers_session_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    await fill(store, owner="ann")
    async with house(store=store) as here:
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/export", None),
            ("PATCH", "", {"title": "mine"}),
            ("DELETE", "", None),
        ):
            options: dict[str, Any] = {"headers": {OWNER: "bob"}} | ({} if body is None else {"json": body})
            strange = await here.client.request(method, f"/api/sessions/s_1{path}", **options)
            missing = await here.client.request(method, f"/api/sessions/s_0{path}", **options)
            assert (strange.status_code, strange.json()["code"]) == (404, "session_not_found")
            assert (missing.status_code, missing.json()) == (404, strange.json())
        assert (await get(here, "", **{OWNER: "bob"})).json() == {"sessions": [], "next": None}
    assert (await store.session("s_1")).title == "A *title*"


async def test_a_reply_that_only_the_store_knows_is_ended() -> None:
    store = MemoryStore()
    async with house(store=store) as here:
        session = await begun(here)
        await fill(store, session)
        answers = [await here.client.post(f"/api/sessions/{session}/messages/m{n}/cancel") for n in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
    assert [answer.json()["type"] for answer in answers] == ["done", "done", "error", "error"]
    assert answers[1].json()["receipt"] == {"generated": 2, "delivered": 1, "stop_ms": 3}
    assert answers[2].json()["cursor"]
    assert (answers[3].json()["code"], "cursor" in answers[3].json()) == ("unknown_id", False)


# --- refusals --


BAD = [
    ("GET", "?limit=0", 400, "invalid_message"),
    ("GET", "?limit=101", 400, "invalid_message"),
    ("GET", "?limit=x", 400, "invalid_message"),
    ("GET", "?limit=²", 400, "invalid_message"),
    ("GET", "?cursor=x", 400, "invalid_message"),
    ("GET", "?cursor=W10=", 400, "invalid_message"),
    ("GET", "?cursor=ü", 400, "invalid_message"),
    ("GET", "/s_1/export?format=pdf", 400, "invalid_message"),
    ("PUT", "/s_1", 405, "method_not_allowed"),
    ("PATCH", "/s_1", 415, "unsupported_media_type"),
    ("PATCH", "", 405, "method_not_allowed"),
]


async def test_bad_requests() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        for method, path, status, code in BAD:
            answer = await here.client.request(method, f"/api/sessions{path}", content=b"{}")
            assert (answer.status_code, answer.json()["code"], answer.json()["type"]) == (status, code, "error")


@pytest.mark.parametrize("body", ["{}", '{"title":1}', json.dumps({"title": "x" * 257}), "[]", "{"])
async def test_bad_titles(body: str) -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        headers = {"content-type": "application/json"}
        answer = await here.client.patch("/api/sessions/s_1", content=body, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


async def test_without_a_store_there_is_no_history() -> None:
    async with house() as here:
        session = await begun(here)
        for path in ("", f"/{session}", f"/{session}/export"):
            answer = await get(here, path)
            assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (404, "no_history", False)


async def test_a_store_that_is_away_is_said_to_be() -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        store.away = True
        for path in ("", "/s_1", "/s_1/export"):
            answer = await get(here, path)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert answer.headers["retry-after"] == "1"
        assert (await here.client.delete("/api/sessions/s_1")).status_code == 503
        store.away = False
        assert (await here.client.delete("/api/sessions/s_1")).status_code == 204
        await until(lambda: len(here.gate.hub) == 0)
