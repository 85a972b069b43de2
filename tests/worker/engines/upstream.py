"""A model server whose answers the test writes down beforehand: plain HTTP/1.1 over asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from shared.settings import OpenAISettings, Settings
from worker.engines.openai import OpenAIEngine, open_engine
from worker.engines.openai_upstream import Backoff

QUICK = Backoff(first=0.001)
JSON = {"content-type": "application/json"}


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The content as JSON."""
        return msgspec.json.decode(self.content)


class Exchange:
    """One request, and what is answered to it."""

    def __init__(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked = asked
        self._reader = reader
        self._writer = writer

    async def head(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """The status line and headers of a body in chunks."""
        fields = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **(headers or {})}
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        await self._write("\r\n".join(lines).encode())

    async def send(self, data: bytes) -> None:
        """A part of the body."""
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, data: Any) -> None:
        """An event, of JSON unless it is bytes already."""
        await self.send(b"data: " + (data if isinstance(data, bytes) else msgspec.json.encode(data)) + b"\n\n")

    async def end(self) -> None:
        """The body's end; the connection stays."""
        await self._write(b"0\r\n\r\n")

    async def respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """A whole response, of JSON unless it is bytes already."""
        await self.head(status, {**JSON, **(headers or {})})
        await self.send(body if isinstance(body, bytes) else msgspec.json.encode(body))
        await self.end()

    async def gone(self) -> None:
        """Return when the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            assert await self._reader.read(1) == b""

    def drop(self) -> None:
        """Close the connection."""
        self._writer.transport.abort()

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


Answer = Callable[[Exchange], Awaitable[None]]


class Upstream:
    """What was asked, and what will be answered: POSTs get the answers in turn, GET /models gets `models`."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.base_url = ""
        self.asked: list[Asked] = []  # POSTs only
        self.models: Answer = models("first-model", "second-model")
        self.models_asked = 0
        self.connections = 0
        self.listen: Callable[[], Awaitable[None]]
        self._answers = list(answers)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on a connection, until it is closed."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (asked := await _read(reader)) is not None:
                await self._answer(Exchange(asked, reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass  # neither concerns anyone: the test looks at the engine
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.asked.method == "GET":
            self.models_asked += 1
            await self.models(exchange)
            return
        self.asked.append(exchange.asked)
        await self._answers.pop(0)(exchange)

    async def stop(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def scripted(*answers: Answer, listening: bool = True) -> AsyncIterator[Upstream]:
    """A server that gives these answers, one after the other. Connections are refused until it listens."""
    upstream = Upstream(answers)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, start_serving=listening)
    upstream.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    upstream.listen = server.start_serving
    try:
        yield upstream
    finally:
        server.close()
        await upstream.stop()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


# --- answers ----------------------------------------------------------------------------------------------------------


def delta(text: str | None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a stream."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}], **more}


def streams(*events: Any, done: bool = True) -> Answer:
    """A stream of these events and, unless `done` is False, the mark of its end."""

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        for event in events:
            await exchange.event(event)
        if done:
            await exchange.event(b"[DONE]")
        await exchange.end()

    return answer


def says(*texts: str) -> Answer:
    """A usual reply in these pieces, with usage."""
    usage = {"prompt_tokens": 5, "completion_tokens": len(texts), "total_tokens": 5 + len(texts)}
    pieces = [delta(text, usage=None) for text in texts]
    return streams(*pieces, delta(None, "stop"), {"choices": [], "usage": usage})


def refuses(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
    """A response that is no success."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(status, body or {"error": {"message": "No, at http://10.0.0.1/ with sk-1"}}, headers)

    return answer


def models(*names: str) -> Answer:
    """The list of models."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    return answer


async def silence(exchange: Exchange) -> None:
    """Nothing at all, until the client goes."""
    await exchange.gone()


async def drops(exchange: Exchange) -> None:
    """Closes the connection without a word."""
    exchange.drop()


# --- an engine for it -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(base_url: str, backoff: Backoff = QUICK, **options: Any) -> AsyncIterator[OpenAIEngine]:
    """An engine that asks the server for the model `m`, unless the options say otherwise."""
    options = {"base_url": base_url, "model": "m", **options}
    engine = open_engine(Settings(openai=OpenAISettings(**options)), backoff)
    try:
        yield engine
    finally:
        await engine.close()
