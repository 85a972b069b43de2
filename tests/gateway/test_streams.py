"""Responses that stream: the writer alone, and all of it through the real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.dialect import Ask
from gateway.hub import Hub
from gateway.outbox import ROOM
from gateway.patience import Patience
from gateway.protocol import JsonDialect
from gateway.streams import END, EventStream, Reader, StreamWriter
from shared.brokers.sides import GatewaySide
from shared.errors import ChatError
from shared.messages import Item
from shared.settings import Settings
from tests.gateway.chatting import turns
from tests.gateway.housing import House, house
from tests.gateway.serving import raw_client, read_to_end, until

LONG = "x" * 1000


# --- the writerX


async def test_what_is_sent_is_taken_together() -> None:
    writer = StreamWriter()
    writer.send([b"one ", b"two "])
    writer.send([b"three"])

    assert await writer.take() == b"one two three"


async def test_a_take_waits() -> None:
    writer = StreamWriter()
    taken = asyncio.ensure_future(writer.take())
    await turns()
    assert not taken.done()

    writer.send([b"now"])

    assert await taken == b"now"


async def test_bytes_count_as_unsent_until_the_next_take() -> None:
    writer = StreamWriter()
    writer.send([b"1234"])
    assert writer.buffered() == 4
    await writer.take()
    assert writer.buffered() == 4
    writer.send([b"56"])
    assert writer.buffered() == 6

    await writer.take()

    assert writer.buffered() == 2


async def test_it_has_drained_when_what_was_too_much_is_sent() -> None:
    writer, drained = StreamWriter(), []
    writer.on_drained = lambda: drained.append(writer.buffered())
    writer.send([bytes(ROOM + 1)])
    await writer.take()
    assert drained == []
    waiting = asyncio.ensure_future(writer.take())
    await turns()

    assert drained == [0]
    writer.send([b"little"])
    await waiting
    asyncio.get_running_loop().call_soon(writer.end)
    await writer.take()
    assert drained == [0], "little is never too much"


async def test_the_end_comes_behind_what_was_sent_and_nothing_comes_behind_the_end() -> None:
    writer = StreamWriter()
    writer.send([b"last", END, b"never"])
    writer.send([b"nor this"])

    assert [await writer.take(), await writer.take(), await writer.take()] == [b"last", None, None]
    assert writer.buffered() == 0


async def test_an_end_wakes_who_waits() -> None:
    writer = StreamWriter()
    taken = asyncio.ensure_future(writer.take())
    await turns()
    writer.close(1000, "over")

    assert await taken is None


# --- through the server -----------------------------------------------------------------------------------------------


class Lines(JsonDialect):
    """Events a line each; the end of a reply, a failure and the gateway's stop end the response."""

    def events(self, item: Item, skip: int) -> list[bytes]:
        lines = [payload + b"\n" for payload in super().events(item, skip)]
        return [*lines, END] if item.terminal else lines

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        said = super().joined(session, resumed=resumed, recovered=recovered, open=open)
        return [payload + b"\n" for payload in said]

    def accepted(self, id: str, place: int) -> list[bytes]:
        return [payload + b"\n" for payload in super().accepted(id, place)]

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        return [payload + b"\n" for payload in super().going_away(retry_after_ms)]

    def farewell(self, error: ChatError) -> list[bytes]:
        return [END]


class Site:
    """`GET /` asks for a reply and streams all of it."""

    def __init__(self, hub: Hub, **options: float) -> None:
        self.hub = hub
        self.options = options
        self.readers: list[Reader] = []
        self.gone: list[Reader] = []

    async def answer(self, request: Request) -> ASGIApp:
        reader = Reader(self.hub, Lines(), request, self.gone.append)
        self.readers.append(reader)
        self.hub.begin(reader.connection, None, None)
        self.hub.ask(reader.connection, Ask("m", "Hello"))
        first = await reader.take()
        assert first is not None
        return EventStream(reader, first, {"x-extra": "yes"}, **self.options)


class Scene:
    """The service, and the site in it."""

    def __init__(self, whole: House, site: Site) -> None:
        self.house = whole
        self.site = site


@asynccontextmanager
async def scene(waits: Patience | None = None, **options: float) -> AsyncIterator[Scene]:
    sites = []

    def build(settings: Settings, broker: GatewaySide, hub: Hub) -> ASGIApp:
        sites.append(Site(hub, **options))

        async def answer(request: Request) -> Any:
            return await sites[0].answer(request)

        return Starlette(routes=[Route("/", answer)])

    async with house(build, patience=waits, servers=True) as whole:
        yield Scene(whole, sites[0])


async def read_all(response: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in response.aiter_lines() if line.startswith("{")]


async def test_a_reply_is_streamed_as_it_is_written_and_the_response_ends_with_it() -> None:
    async with scene() as here, here.house.client.stream("GET", "/") as response:
        run = await here.house.run()
        lines = response.aiter_lines()
        assert [json.loads(await anext(lines))["type"] for _ in range(2)] == ["session", "accepted"]
        run.say("one")
        assert [json.loads(await anext(lines))["type"] for _ in range(2)] == ["started", "delta"]
        run.done("two")
        assert [json.loads(line)["type"] async for line in lines] == ["delta", "done"]

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-extra"] == "yes"
    assert here.site.gone == []


async def test_a_client_that_goes_away_is_noticed_at_once() -> None:
    async with scene() as here:
        async with here.house.client.stream("GET", "/") as response:
            await anext(response.aiter_raw())
            assert len(here.house.gate.hub) == 1
        await until(lambda: len(here.house.gate.hub) == 0)

        assert here.site.gone == here.site.readers
        assert here.site.readers[0].gone
        (await here.house.run()).done("nobody listens, and it ends all the same")


async def test_a_client_that_goes_before_the_answer_is_noticed_too() -> None:
    async with scene() as here:
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        here.site.hub._broker.attach = lambda *_: never  # type: ignore[method-assign]
        with suppress(httpx2.TimeoutException):
            await here.house.client.get("/", timeout=0.1)
        await until(lambda: bool(here.site.gone))

        assert len(here.house.gate.hub) == 0
        never.cancel()
        here.site.hub._sessions.clear()  # no answer, no end of joining
        here.site.hub._watched.clear()


async def test_silence_is_filled_with_comments() -> None:
    async with scene(ping=0.02) as here, here.house.client.stream("GET", "/") as response:
        lines = response.aiter_lines()
        said = [await anext(lines) for _ in range(7)]
        assert said[2:] == [": ping", "", ": ping", "", ": ping"]
        (await here.house.run()).done()
        assert [json.loads(line)["type"] for line in [line async for line in lines] if line.startswith("{")] == [
            "started",
            "done",
        ]


async def test_the_stop_of_the_gateway_ends_the_stream_with_a_word() -> None:
    async with scene() as here, here.house.client.stream("GET", "/") as response:
        run = await here.house.run()
        run.say("half a reply")
        lines = response.aiter_lines()
        for _ in range(4):
            await anext(lines)

        stopping = asyncio.create_task(here.house.gate.stop())

        (hint,) = [json.loads(line) async for line in lines]  # and it ends as it should: no broken chunk
        assert hint["type"] == "going_away"
        await stopping


async def test_a_slow_reader_holds_little_here_and_gets_all_in_the_end() -> None:
    pieces = 400
    async with scene() as here, raw_client(here.house.gate.port, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n") as slow:
        run = await here.house.run()
        (reader,) = here.site.readers
        most = 0
        for number in range(pieces):
            run.say(f"{number} {LONG}")
            await turns(20)
            most = max(most, reader.writer.buffered())
        run.done()
        assert ROOM < most < 3 * ROOM, "it was full, and stayed within its bounds"
        assert not reader.connection.outbox.live

        read = asyncio.ensure_future(read_to_end(slow))
        await until(lambda: len(here.house.gate.hub) == 0)
        await here.house.gate.stop()
        text = (await read).decode()

    assert [f'"text":"{number} {LONG}"' in text for number in range(pieces)] == [True] * pieces
    assert text.endswith("0\r\n\r\n")


@pytest.mark.parametrize("who", ["the hub", "the stream"])
async def test_a_reader_that_never_reads_is_cut(who: str) -> None:
    options = {"patience": 0.05, "ping": 0.05} if who == "the stream" else {}
    waits = Patience(send=0.05) if who == "the hub" else Patience()
    async with scene(waits, **options) as here:
        async with raw_client(here.house.gate.port, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n") as deaf:
            run = await here.house.run()
            for _ in range(150):
                run.say(LONG)
                await turns(20 if who == "the hub" else 0)  # 0: all of it in one write, behind which nothing is left
            run.done()
            await until(lambda: len(here.house.gate.hub) == 0 and not here.house.gate.state.connections)
            text = await read_to_end(deaf)
        assert here.site.readers[0].gone
        assert b'"done"' not in text


async def test_a_head_request_has_no_stream() -> None:
    async with scene() as here:
        response = await here.house.client.head("/")

        assert response.headers["content-type"].startswith("text/event-stream")
        await until(lambda: len(here.house.gate.hub) == 0)
