"""Messages, cancels and event streams over HTTP, beside WebSockets, on any gateway."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from gateway.rest import stopping
from shared.messages import Receipt
from tests.gateway.housing import OWNER, Gate, House, house
from tests.gateway.rest.sse import EventReader, Sse
from tests.gateway.serving import until

V1 = "llm-chat.v1"


async def begin(gate: Gate, **body: Any) -> str:
    """A new session."""
    answer = await gate.client.post("/api/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])


async def ask(gate: Gate, session: str, id: str = "m1", content: str = "Hello", query: str = "") -> httpx2.Response:
    return await gate.client.post(f"/api/sessions/{session}/messages{query}", json={"id": id, "content": content})


async def replied(here: House, session: str, id: str, *texts: str) -> None:
    """A message and its reply, all of it."""
    await ask(here.gate, session, id)
    (await here.run()).done(*texts)
    await until(lambda: here.memory.state.stats().running == 0)


def frames(events: list[Sse]) -> list[dict[str, Any]]:
    return [event.frame for event in events]


async def test_a_message_is_accepted_and_followed_from_there_on() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m0", "earlier")

        answer = await ask(here.gate, session)

        accepted = answer.json()
        assert answer.status_code == 202
        assert (accepted["type"], accepted["id"], accepted["queue_position"]) == ("accepted", "m1", 0)
        assert accepted["session_id"] == session
        (await here.run()).done("one")
        async with here.client.stream("GET", accepted["events"]) as response:
            events = await EventReader(response).until("done")
        assert [event.type for event in events] == ["session", "started", "delta", "done"]
        assert {event.frame["id"] for event in events[1:]} == {"m1"}, "nothing of the earlier reply"


async def test_an_event_stream_is_what_a_websocket_gets_field_for_field() -> None:
    async with house(gateways=2) as here, connect(f"ws://127.0.0.1:{here.gate.port}/ws", subprotocols=[V1]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "message", "id": "m1", "content": "Hello"}))
        session = json.loads(await socket.recv())["session_id"]
        other = here.gates[1]
        async with other.client.stream("GET", f"/api/sessions/{session}/events") as response:
            reader = EventReader(response)
            run = await here.run()
            run.say("one\ntwo", "three")
            run.done("ü")
            events = await reader.until("done")
        said = [json.loads(await socket.recv()) for _ in range(6)]

    assert frames(events)[1:] == said[1:]
    assert [(event.type, event.id) for event in events[1:]] == [(one["type"], one["cursor"]) for one in said[1:]]
    assert events[0].type == "session"
    assert events[0].id == ""
    assert events[0].frame | {"open": []} == {
        "type": "session",
        "session_id": session,
        "resumed": True,
        "recovered": True,
        "open": [],
    }
    assert reader.retry > 0


@pytest.mark.parametrize("way", ["header", "query", "both"])
async def test_a_stream_resumes_behind_the_last_event(way: str) -> None:
    async with house() as here:
        session = await begin(here.gate)
        await ask(here.gate, session)
        run = await here.run()
        run.say("one")
        address = f"/api/sessions/{session}/events"
        async with here.client.stream("GET", address) as response:
            first = await EventReader(response).until("delta")
        run.done("two")
        header = {"last-event-id": first[-1].id} if way != "query" else {}
        query = {"query": f"?after={first[-1].id}", "both": f"?after={first[1].id}", "header": ""}[way]
        async with here.client.stream("GET", address + query, headers=header) as response:
            rest = await EventReader(response).until("done")

    assert [event.type for event in rest] == ["session", "delta", "done"]
    assert [event.frame.get("text") for event in rest] == [None, "two", None]


async def test_a_loss_is_said() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m1", "one")
        strange = "1700000000000-1-1-0123abcd"
        async with here.client.stream("GET", f"/api/sessions/{session}/events?after={strange}") as response:
            events = await EventReader(response).until("done")

    assert events[0].frame["recovered"] is False
    assert [event.type for event in events[1:]] == ["started", "delta", "done"]


async def test_a_stream_ends_with_the_gateway_and_says_so() -> None:
    async with house(servers=True) as here:
        session = await begin(here.gate)
        async with here.client.stream("GET", f"/api/sessions/{session}/events") as response:
            reader = EventReader(response)
            await reader.take(1)
            stopping = asyncio.create_task(here.gate.stop())
            (hint,) = await reader.rest()
        assert (hint.type, hint.frame["type"], hint.id) == ("going_away", "going_away", "")
        await stopping


async def test_an_event_source_that_comes_too_late_is_told_to_come_again() -> None:
    async with house() as here:
        session = await begin(here.gate)
        here.gate.hub.stopping = True
        address = f"/api/sessions/{session}/events"
        assert (await here.client.get(address)).status_code == 503
        answer = await here.client.get(address, headers={"accept": "text/event-stream"})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        assert answer.text.startswith('retry: 1000\n\nevent: error\ndata: {"type":"error","code":"stopping",')
        here.gate.hub.stopping = False
        strange = await here.client.get("/api/sessions/s_none/events", headers={"accept": "text/event-stream"})
        assert strange.status_code == 404, "that is for good"


async def test_a_message_that_waits_when_the_gateway_stops_is_not_accepted() -> None:
    async with house(servers=True) as here:
        session = await begin(here.gate)
        await ask(here.gate, session, "m0")
        waiting = asyncio.create_task(ask(here.gate, session, "m1"))
        await until(lambda: here.gate.hub._sessions[session].line.holds("m1") if here.gate.hub._sessions else False)

        await here.gate.stop()

        answer = await waiting
        assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "stopping", True)
        assert list(here.memory.state._sessions[session].replies) == ["m0"]


async def test_a_gateway_about_to_stop_begins_nothing() -> None:
    async with house() as here:
        here.gate.hub.stopping = True
        for answer in (await here.client.get("/api/sessions/s/events"), await here.client.post("/api/sessions")):
            assert (answer.status_code, answer.json()["code"]) == (503, "stopping")
            assert answer.headers["retry-after"] == "1"


# --- messages --


async def test_the_same_id_never_runs_twice() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m1", "one")

        again = await ask(here.gate, session)

        assert again.status_code == 202
        assert here.worker.take() == []
        async with here.client.stream("GET", again.json()["events"]) as response:
            events = await EventReader(response).until("done")
        assert [event.type for event in events] == ["session", "started", "delta", "done"], (
            "its reply is there to be read"
        )


async def test_a_reply_can_be_streamed_at_once_and_alone() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m0", "earlier")
        async with here.client.stream(
            "POST", f"/api/sessions/{session}/messages?stream=true", json={"id": "m1", "content": "Hello"}
        ) as response:
            reader = EventReader(response)
            run = await here.run()
            run.say("one")
            events = await reader.until("delta")
            run.done("two")
            events += await reader.rest()

    assert response.status_code == 200
    assert [event.type for event in events] == ["session", "accepted", "started", "delta", "delta", "done"]
    assert {event.frame.get("id", "m1") for event in events} == {"m1"}


async def test_a_streamed_message_waits_for_its_turn() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await ask(here.gate, session, "m0")
        run = await here.run()
        async with here.client.stream(
            "POST", f"/api/sessions/{session}/messages?stream=true", json={"id": "m1", "content": "Hello"}
        ) as response:
            reader = EventReader(response)
            assert (await reader.take(1))[0].frame["open"] == ["m0"]
            run.done("nothing of this is streamed")
            (await here.run()).done("one")
            assert [event.type for event in await reader.rest()] == ["accepted", "started", "delta", "done"]


async def test_a_repeated_message_streams_the_reply_that_it_had() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m1", "one")
        async with here.client.stream(
            "POST", f"/api/sessions/{session}/messages?stream=true", json={"id": "m1", "content": "Hello"}
        ) as response:
            events = await EventReader(response).rest()

    assert [event.type for event in events if event.type != "accepted"] == ["session", "started", "delta", "done"]


async def test_who_does_not_want_to_wait_is_told_at_once() -> None:
    async with house() as here:
        session = await begin(here.gate)
        none = await ask(here.gate, session, query="?wait=false")
        assert (none.status_code, none.json()["code"]) == (503, "no_worker")
        here.works()
        assert (await ask(here.gate, session, query="?wait=false")).status_code == 202

        busy = await ask(here.gate, session, "m2", query="?wait=false")

        assert (busy.status_code, busy.json()["code"], busy.json()["retryable"]) == (409, "busy", True)
        (await here.run()).done()


async def test_closing_a_stream_cancels_nothing() -> None:
    async with house() as here:
        session = await begin(here.gate)
        async with here.client.stream(
            "POST", f"/api/sessions/{session}/messages?stream=true", json={"id": "m1", "content": "Hello"}
        ) as response:
            await EventReader(response).take(2)
        await until(lambda: len(here.gate.hub) == 0)

        assert (await here.run()).done("all of it") == []


# --- cancels --


async def test_a_reply_begun_on_a_websocket_is_stopped_by_rest_at_another_gateway() -> None:
    async with house(gateways=2) as here, connect(f"ws://127.0.0.1:{here.gate.port}/ws", subprotocols=[V1]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "message", "id": "m/1\nü", "content": "Hello"}))
        session = json.loads(await socket.recv())["session_id"]
        run = await here.run()
        run.say("one")
        address = f"/api/sessions/{session}/messages/m%2F1%0A%C3%BC/cancel"
        stopping = asyncio.create_task(here.gates[1].client.post(address))
        await until(lambda: bool(here.memory.state._sessions[session].replies["m/1\nü"].cancel_at))
        run.done(reason="cancelled", receipt=Receipt(1, 1, 5))
        answer = await stopping
        said = [json.loads(await socket.recv()) for _ in range(4)]

    assert answer.status_code == 200
    assert answer.json() == said[-1]
    assert answer.json()["receipt"] == {"generated": 1, "delivered": 1, "stop_ms": 5}


async def test_a_waiting_message_is_cancelled_at_once() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await ask(here.gate, session)

        answer = await here.client.post(f"/api/sessions/{session}/messages/m1/cancel")

        assert (answer.status_code, answer.json()["finish_reason"]) == (200, "cancelled")


async def test_what_has_ended_stays_as_it_is() -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m1", "one")

        answer = await here.client.post(f"/api/sessions/{session}/messages/m1/cancel")

        assert (answer.status_code, answer.json()["finish_reason"]) == (200, "stop")


async def test_a_cancel_of_what_waits_in_a_line_is_said_to_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.05)
    async with house() as here:
        session = await begin(here.gate)
        await ask(here.gate, session, "m0")
        run = await here.run()
        waiting = asyncio.create_task(ask(here.gate, session, "m1"))
        await until(lambda: here.gate.hub._sessions[session].line.holds("m1") if here.gate.hub._sessions else False)

        answer = await here.client.post(f"/api/sessions/{session}/messages/m1/cancel")

        assert (answer.status_code, answer.json()) == (202, {"type": "cancelling", "id": "m1"})
        run.done()
        assert (await waiting).status_code == 202
        assert here.worker.take() == []


# --- refusals --

LONG = "x" * 65_536


BAD = [
    ("POST", "messages", {"id": "m"}, 400, "invalid_message"),
    ("POST", "messages", {"content": "c"}, 400, "invalid_message"),
    ("POST", "messages", {"id": "m", "content": ""}, 400, "invalid_message"),
    ("POST", "messages", {"id": "", "content": "c"}, 400, "invalid_message"),
    ("POST", "messages", {"id": "m" * 257, "content": "c"}, 400, "invalid_message"),
    ("POST", "messages", {"id": "m", "content": "c", "params": {"temperature": 9}}, 400, "invalid_message"),
    ("POST", "messages", {"id": "m", "content": LONG + "x"}, 413, "message_too_large"),
    ("POST", "messages?stream=perhaps", {"id": "m", "content": "c"}, 400, "invalid_message"),
    ("POST", "messages?wait=perhaps", {"id": "m", "content": "c"}, 400, "invalid_message"),
    ("POST", "messages/m9/cancel", None, 404, "unknown_id"),
    ("POST", "messages//cancel", None, 404, "unknown_id"),
    ("GET", "events?after=nonsense", None, 400, "invalid_message"),
    ("POST", "events", None, 405, "method_not_allowed"),
    ("GET", "messages", None, 405, "method_not_allowed"),
    ("GET", "nothing", None, 404, "not_found"),
]


async def test_bad_requests() -> None:
    async with house() as here:
        session = await begin(here.gate)
        for method, path, body, status, code in BAD:
            options: dict[str, Any] = {} if body is None else {"json": body}

            answer = await here.client.request(method, f"/api/sessions/{session}/{path}", **options)

            assert (answer.status_code, answer.json()["code"], answer.json()["type"]) == (status, code, "error")


async def test_the_longest_message_passes() -> None:
    async with house() as here:
        session = await begin(here.gate)
        assert (await ask(here.gate, session, content=LONG)).status_code == 202


UNKNOWN = ["", "s_unknown", "x" * 300, "%00", "..%2f"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/events", None),
        ("POST", "/messages", {"id": "m1", "content": "c"}),
        ("POST", "/messages?stream=true", {"id": "m1", "content": "c"}),
        ("POST", "/messages/m1/cancel", None),
        ("DELETE", "", None),
    ],
)
async def test_anothers_session_is_one_that_does_not_exist(method: str, path: str, body: Any) -> None:
    async with house() as here:
        session = await begin(here.gate)
        await replied(here, session, "m1", "secret")
        options = {} if body is None else {"json": body}
        strange = await here.client.request(
            method, f"/api/sessions/{session}{path}", headers={OWNER: "somebody"}, **options
        )
        missing = await here.client.request(method, f"/api/sessions/s_0{path}", **options)

        assert (strange.status_code, strange.json()["code"]) == (404, "session_not_found")
        assert strange.json() == missing.json()
        assert here.memory.state.stats().sessions == 1
        for name in UNKNOWN[2:]:
            odd = await here.client.request(method, f"/api/sessions/{name}{path}", **options)
            assert odd.status_code == 404
