"""A gateway that stops: what its responses go on with meanwhile, and how they end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.housing import House, house
from tests.gateway.openai.speaking import Json, chat, error, events, text_of
from tests.gateway.rest.sse import EventReader, Sse
from tests.gateway.serving import until
from tests.gateway.writing import Run

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ASKED: Json = {"model": "echo", "input": "Hello", "stream": True}


@asynccontextmanager
async def streaming(here: House, path: str, body: Json) -> AsyncIterator[tuple[Run, EventReader, list[Sse]]]:
    """A reply of which the client has one piece, and the events up to that."""
    waiting = asyncio.create_task(here.run())
    request = here.client.build_request("POST", path, json=body)
    sending = asyncio.create_task(here.client.send(request, stream=True))
    run = await waiting
    run.say("one")
    response = await sending
    reader = EventReader(response)
    heard = [await anext(reader)]
    while "one" not in heard[-1].data:
        heard.append(await anext(reader))
    yield run, reader, heard
    await reader.close()
    await response.aclose()


def stopping_of(here: House) -> "asyncio.Task[None]":
    return asyncio.create_task(here.gate.stop())


async def test_a_session_is_followed_to_the_end_of_the_delay() -> None:
    async with house(servers=True, drain_delay=0.4) as here:
        begun = (await here.client.post("/api/sessions")).json()
        await here.client.post(begun["events"].replace("/events", "/messages"), json={"id": "m1", "content": "Hello"})
        run = await here.run()
        async with here.client.stream("GET", begun["events"]) as response:
            reader = EventReader(response)
            await reader.until("session")
            stopping = stopping_of(here)
            hint = (await reader.until("going_away"))[-1].frame
            assert reader.retry == hint["retry_after_ms"], "an EventSource is told by its own means"
            run.say("one")
            assert [event.type for event in await reader.rest()] == ["started", "delta"]
        await stopping
        run.done()


async def test_a_reply_that_ends_in_time_is_whole_and_nothing_is_waited_for_behind_it() -> None:
    began = time.monotonic()
    async with (
        house(servers=True, drain_delay=1.5) as here,
        streaming(here, CHAT, chat(stream=True)) as (run, reader, _),
    ):
        stopping = stopping_of(here)
        await until(lambda: here.gate.hub.stopping)
        run.done(" two")
        *_, last = await reader.rest()
        assert last.data == "[DONE]"
        await stopping
    assert time.monotonic() - began < 1.5


async def test_a_chat_that_does_not_ends_in_an_error() -> None:
    async with house(servers=True) as here, streaming(here, CHAT, chat(stream=True)) as (_, reader, _):
        await stopping_of(here)
        (last,) = await reader.rest()
        assert last.frame["error"]["code"] == "stopping"
        await until(lambda: not here.memory.state._sessions)


async def test_a_chat_of_which_nothing_is_told_yet_is_an_answer_that_asks_for_another_try() -> None:
    for stream in (False, True):
        async with house(servers=True) as here:
            asking = asyncio.create_task(here.client.post(CHAT, json=chat(stream=stream)))
            await here.run()
            await stopping_of(here)
            answer = await asking
            assert (answer.status_code, error(answer)["code"]) == (503, "stopping")
            assert answer.headers["x-should-retry"] == "true"


async def test_a_response_ends_in_an_error_without_a_number_and_goes_on_elsewhere() -> None:
    async with house(servers=True, gateways=2) as here, streaming(here, RESPONSES, ASKED) as (run, reader, heard):
        await stopping_of(here)
        (last,) = await reader.rest()
        assert (last.type, last.frame["error"]["code"]) == ("error", "stopping")
        assert "sequence_number" not in last.frame
        run.done(" two")
        id, number = heard[0].frame["response"]["id"], heard[-1].frame["sequence_number"]
        rest = await here.gates[1].client.get(f"{RESPONSES}/{id}?stream=true&starting_after={number}")
        assert [event["sequence_number"] for event in events(rest.text)][:2] == [number + 1, number + 2]
        assert text_of([*(event.frame for event in heard), *events(rest.text)]) == "one two"


async def test_a_response_over_a_socket_likewise() -> None:
    async with house(servers=True) as here:
        async with connect(f"ws://127.0.0.1:{here.gate.port}{RESPONSES}") as socket:
            await socket.send('{"type":"response.create","model":"echo","input":"Hello"}')
            run = await here.run()
            run.say("one")
            stopping = stopping_of(here)
            said = []
            with suppress(ConnectionClosed):
                while True:
                    said.append(await socket.recv())
            assert socket.close_code == 1012
            [last] = events(f"data: {said[-1]!s}")
            assert (last["type"], last["status"], last["error"]["code"]) == ("error", 503, "stopping")
            await stopping
        run.done()
