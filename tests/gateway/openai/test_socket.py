import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.caller import Caller
from gateway.openai import lane, socket
from shared.brokers.state import Limits
from shared.request import decode_request
from tests.gateway.housing import House, house
from tests.gateway.openai.speaking import Json, events, nothing_left, text_of
from tests.gateway.serving import until
from tests.gateway.writing import Run
from tests.memory_store import MemoryStore

PATH = "/v1/responses"


class Client:
    """One that speaks the WebSocket mode."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, content: Any = "Hello", **fields: Any) -> None:
        await self.say({"type": "response.create", "model": "echo", "input": content, **fields})

    async def say(self, event: Any) -> None:
        await self.connection.send(json.dumps(event))

    async def hear(self) -> Json:
        found: Json = json.loads(await self.connection.recv())
        return found

    async def until(self, type: str) -> list[Json]:
        found = [await self.hear()]
        while found[-1]["type"] != type:
            found.append(await self.hear())
        return found


@asynccontextmanager
async def client_of(home: House, gate: int = 0) -> AsyncIterator[Client]:
    async with connect(f"ws://127.0.0.1:{home.gates[gate].port}{PATH}") as connection:
        yield Client(connection)


def turns(run: Run) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in decode_request(run.lease.request).turns]


async def test_the_events_are_those_of_the_stream_a_frame_each() -> None:
    async with house() as home, client_of(home) as client:
        await client.create()
        run = await home.run()
        run.say("one")
        run.done(" two")
        found = await client.until("response.completed")
        assert text_of(found) == "one two"
        id = found[-1]["response"]["id"]
        again = await home.client.get(f"{PATH}/{id}", params={"stream": "true"})
        assert events(again.text) == found


async def test_a_conversation_goes_on() -> None:
    async with house() as home, client_of(home) as client:
        await client.create()
        (await home.run()).done("Hi")
        id = (await client.until("response.completed"))[-1]["response"]["id"]
        await client.create("Bye", previous_response_id=id)
        run = await home.run()
        assert turns(run) == [("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
        run.done("x")
        await client.until("response.completed")


async def test_a_conversation_goes_on_that_is_stored_nowhere_as_long_as_the_socket_is_there() -> None:
    async with house() as home:
        async with client_of(home) as client:
            await client.create(store=False, instructions="be kind")
            (await home.run()).done("Hi")
            id = (await client.until("response.completed"))[-1]["response"]["id"]
            await nothing_left(home)
            await client.create("Bye", previous_response_id=id, store=False)
            run = await home.run()
            assert turns(run) == [("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
            run.done("x")
            await client.until("response.completed")
        async with client_of(home) as client:
            await client.create("Bye", previous_response_id=id)
            refused = await client.hear()
            assert (refused["type"], refused["status"]) == ("error", 400)
            assert refused["error"]["code"] == "previous_response_not_found"
            assert set(refused["error"]) == {"message", "type", "param", "code"}


async def test_what_is_only_prepared_makes_no_reply() -> None:
    async with house() as home, client_of(home) as client:
        await client.create("Remember this.", generate=False, stream_id="a")
        created, completed = await client.until("response.completed")
        assert (created["type"], completed["response"]["output"]) == ("response.created", [])
        assert created["stream_id"] == completed["stream_id"] == "a"
        await client.create("Hello", previous_response_id=completed["response"]["id"])
        run = await home.run()
        assert turns(run) == [("user", "Remember this."), ("user", "Hello")]
        run.done("x")
        await client.until("response.completed")


async def test_lanes_run_side_by_side_and_each_in_order() -> None:
    async with house() as home, client_of(home) as client:
        for content, name in (("one", "a"), ("two", "b"), ("three", "a")):
            await client.create(content, stream_id=name)
        runs: list[Run] = []

        async def both_wait() -> None:
            while len(runs) < 2:
                runs.extend(home.worker.take())
                await asyncio.sleep(0.001)

        await both_wait()
        assert [turns(run)[-1][1] for run in runs] == ["one", "two"]
        runs[1].done("2")
        found = await client.until("response.completed")
        assert {event["stream_id"] for event in found if event["type"].endswith("delta")} == {"b"}
        runs[0].done("1")
        found = await client.until("response.completed")
        assert {event["stream_id"] for event in found} <= {"a"}
        run = await home.run()
        assert turns(run)[-1][1] == "three"
        run.done("3")
        await client.until("response.completed")


async def test_what_is_wrong_is_answered_and_the_connection_stays() -> None:
    async with house() as home, client_of(home) as client:
        for sent, param in (
            ("{", None),
            ("[]", None),
            ('{"type":"response.poke"}', "type"),
            ('{"type":"response.create","model":"echo"}', "input"),
            ('{"type":"response.create","model":"echo","input":7,"stream_id":"a"}', "input"),
            ('{"type":"response.create","model":"gpt-none","input":"x"}', "model"),
        ):
            await client.connection.send(sent)
            refused = await client.hear()
            assert refused["type"] == "error"
            assert refused["status"] in (400, 404)
            assert refused["error"]["param"] == param
            assert refused.get("stream_id") == ("a" if "stream_id" in sent else None)
        await client.create()
        (await home.run()).done("x")
        await client.until("response.completed")


async def test_what_is_not_accepted_is_an_error() -> None:
    async with house(limits=Limits(queue=0)) as home, client_of(home) as client:
        await client.create(stream_id="a")
        refused = await client.hear()
        assert (refused["status"], refused["error"]["code"], refused["stream_id"]) == (429, "queue_full", "a")


async def test_a_client_that_goes_stops_its_responses_and_drops_those_that_wait() -> None:
    async with house() as home:
        async with client_of(home) as client:
            await client.create()
            await client.create("next")
            run = await home.run()
            run.say("one")
            await client.until("response.output_text.delta")
        await until(lambda: bool(home.memory.state._life.cancelling))
        run.done(reason="cancelled")
        await until(lambda: len(home.gate.hub) == 0)
        assert len(home.memory.state._life.queue) == 0


async def test_a_gateway_that_goes_stops_nothing() -> None:
    async with house() as home:
        async with client_of(home) as client:
            await client.create()
            run = await home.run()
            run.say("one")
            await client.until("response.output_text.delta")
            home.gate.hub.stopping = True
        await until(lambda: len(home.gate.hub) == 0)
        assert run.done(" two") == []


async def test_too_many_in_a_lane_and_too_many_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LONGEST", 1)
    monkeypatch.setattr(socket, "MOST_LANES", 1)
    async with house() as home, client_of(home) as client:
        await client.create()
        await until(lambda: len(home.memory.state._life.queue) == 1)
        for name in (None, None, "b"):
            await client.create(stream_id=name)
        refused = [event for event in [await client.hear() for _ in range(4)] if event["type"] == "error"]
        assert [event["status"] for event in refused] == [429, 429]
        for _ in range(2):
            (await home.run()).done("x")
            await client.until("response.completed")
        await client.create(stream_id="b")  # in place of the idle one
        (await home.run()).done("x")
        await client.until("response.completed")


async def test_a_binary_frame_ends_the_connection() -> None:
    async with house() as home, client_of(home) as client:
        await client.connection.send(b"x")
        with pytest.raises(ConnectionClosed) as closed:
            await client.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003


async def test_foreign_pages_and_gateways_that_stop_let_nobody_in() -> None:
    async with house() as home:
        url = f"ws://127.0.0.1:{home.gate.port}{PATH}"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin="https://foreign.example").__aenter__()  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        home.gate.hub.stopping = True
        with pytest.raises(InvalidStatus) as refused:
            await connect(url).__aenter__()
        assert refused.value.response.status_code == 503


async def test_what_is_too_long_is_an_error_and_the_connection_stays() -> None:
    async with house(store=MemoryStore()) as home, client_of(home) as client:
        await client.create("x" * 40_000)
        refused = await client.hear()
        assert (refused["type"], refused["error"]["code"]) == ("error", "context_length_exceeded")
        await client.create()
        (await home.run()).done("x")
        await client.until("response.completed")


async def test_elsewhere_there_is_no_socket() -> None:
    async with house() as home:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{home.gate.port}/v1/chat/completions").__aenter__()
        response = refused.value.response
        assert (response.status_code, json.loads(response.body or b"")["error"]["code"]) == (404, "not_found")


async def test_a_session_that_is_deleted_ends_its_reply_and_no_other() -> None:
    async with house(gateways=2) as home, client_of(home) as client:
        await client.create()
        run = await home.run()
        run.say("one")
        await client.until("response.output_text.delta")
        await home.gates[1].hub.deletions.forget(run.lease.session)
        failed = await client.hear()
        assert failed["type"] == "response.failed"
        await client.create()
        (await home.run()).done("x")
        await client.until("response.completed")


async def test_a_caller_whose_time_is_over_is_not_heard_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "caller_of", lambda scope: Caller("ann", expires_at=1.0))
    async with house() as home, client_of(home) as client:
        await client.create()
        with pytest.raises(ConnectionClosed) as closed:
            await client.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
