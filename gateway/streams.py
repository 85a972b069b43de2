"""A session's events, or one reply's, as the body of an HTTP response.

A request becomes an ordinary Connection: its dialect renders server-sent events or gathers a reply, its writer keeps
what the hub sends until the response's task takes it. What is not taken counts as unsent, so that a client that does
not read holds no memory here, as on a WebSocket.
"""

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from gateway.caller import caller_of
from gateway.connection import Connection
from gateway.dialect import Dialect
from gateway.hub import Hub
from gateway.outbox import ROOM
from gateway.uvicorn_http import ABORT

END = b""  # as a payload: with it the response is complete, whatever the hub has to say after it
PING = b": ping\n\n"  # a comment: clients pass over it
PING_SECONDS = 15.0  # proxies and clients give silent responses up, mostly after 30 or 60 s
SEND_SECONDS = 30.0  # for a client to take what it was sent
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx would collect the events
}


class StreamWriter:
    """See gateway.outbox.Writer. `taken_at`: seconds on the loop's clock at the last take."""

    __slots__ = (
        "_ended",
        "_on_way",
        "_owes_room",
        "_payloads",
        "_size",
        "_waiting",
        "on_close",
        "on_drained",
        "taken_at",
    )

    def __init__(self) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.on_close: Callable[[], None] | None = None  # the hub wants the connection to end
        self.taken_at = asyncio.get_running_loop().time()
        self._payloads: list[bytes] = []
        self._size = 0  # bytes that are kept here or on their way
        self._on_way = 0
        self._owes_room = False  # it has been full, so that `on_drained` has to follow
        self._ended = False
        self._waiting: asyncio.Future[None] | None = None

    def send(self, payloads: list[bytes]) -> None:
        """See Writer. END, as one of them, is the end."""
        if self._ended:
            return
        if END in payloads:
            payloads = payloads[: payloads.index(END)]
            self._ended = True
        self._payloads += payloads
        self._size += sum(map(len, payloads))
        self._owes_room = self._owes_room or self.full
        self._wake()

    @property
    def full(self) -> bool:
        """Whether the client has yet to take more than ROOM bytes."""
        return self._size > ROOM

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._size

    def close(self, code: int, reason: str) -> None:
        """See Writer."""
        self.end()
        if self.on_close is not None:
            self.on_close()

    def end(self) -> None:
        """Take nothing more in."""
        self._ended = True
        self._wake()

    async def take(self) -> bytes | None:
        """Wait for what is to be sent next; None at the end. Taking says that what was taken before is sent."""
        self._settle()
        while not self._payloads:
            if self._ended:
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        payloads, self._payloads = self._payloads, []
        self._on_way = self._size
        return b"".join(payloads)

    def _settle(self) -> None:
        self.taken_at = asyncio.get_running_loop().time()
        self._size -= self._on_way
        self._on_way = 0
        if self._owes_room and not self.full:
            self._owes_room = False
            if self.on_drained is not None:
                self.on_drained()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


class Reader:
    """A request's connection, from now until `close`, which whoever makes one must see to; or until the client has
    gone: then `gone` is set, `on_gone` called once, and `take` returns None.

    The request's body must have been read before.
    """

    def __init__(
        self, hub: Hub, dialect: Dialect, request: Request, on_gone: Callable[["Reader"], None] | None = None
    ) -> None:
        self.writer = StreamWriter()
        self.connection = Connection(hub, dialect, self.writer, caller_of(request.scope))
        self.writer.on_drained = self.connection.on_drained
        self.gone = False
        self._on_gone = on_gone
        self._open = True
        self._watch = asyncio.get_running_loop().create_task(self._notice(request.receive))

    async def take(self) -> bytes | None:
        """See StreamWriter."""
        return await self.writer.take()

    def close(self) -> None:
        """Leave the session. Nothing is cancelled by that. May be called again."""
        self._watch.cancel()
        self._leave()

    def _leave(self) -> None:
        if self._open:
            self._open = False
            self.writer.end()
            self.connection.on_gone()

    async def _notice(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._open and self._on_gone is not None:
            self._on_gone(self)  # while the connection still has its session
        self._leave()


class EventStream:
    """An ASGI response: `first`, then all that the reader takes, as server-sent events. It says something at least
    every `ping` seconds, drops a client that does not take what it was sent within `patience` seconds, or by the time
    that the hub closes, and closes the reader at its end."""

    def __init__(
        self,
        reader: Reader,
        first: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        ping: float = PING_SECONDS,
        patience: float = SEND_SECONDS,
    ) -> None:
        self._reader = reader
        self._first = first
        self._headers = HEADERS | dict(headers or {})
        self._ping = ping
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._abort: Callable[[], None] = lambda: None
        self._sending_at: float | None = None  # since when the client has not taken what was sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        self._abort = scope.get("extensions", {}).get(ABORT, {}).get("call", self._abort)
        self._reader.writer.on_close = self._cut
        self._beat()
        try:
            headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] != "HEAD":
                await self._send_events(send)
            await self._send(send, {"type": "http.response.body", "body": b""})
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._reader.close()

    async def _send_events(self, send: Send) -> None:
        chunk: bytes | None = self._first or await self._reader.take()
        while chunk is not None:
            await self._send(send, {"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await self._reader.take()

    async def _send(self, send: Send, message: Message) -> None:
        self._sending_at = asyncio.get_running_loop().time()
        await send(message)
        self._sending_at = None

    def _cut(self) -> None:
        """Not behind what the client does not take: it would not end."""
        if self._sending_at is not None:
            self._abort()

    def _beat(self) -> None:
        """Be heard by a client that waits; give up one that does not read."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._sending_at is not None:
            pause = self._sending_at + self._patience - now
            if pause <= 0:
                self._abort()
        else:
            pause = self._reader.writer.taken_at + self._ping - now
            if pause <= 0:
                self._reader.writer.send([PING])
        self._timer = loop.call_later(min(pause, self._ping) if pause > 0 else self._ping, self._beat)
