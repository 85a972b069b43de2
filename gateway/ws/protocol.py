"""uvicorn's `ws=`: a WebSocket connection of ours.

It serves any ASGI endpoint. One that hands its connection over (gateway.ws.asgi) leaves nothing but this object, which
is made to be small and quick: it has slots, no timer, no task and no queue of its own, and a parser only in the middle
of a message. Compression is not offered.
"""

import asyncio
import logging
import random
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.ws import handshake
from gateway.ws.asgi import Conversation, Listener, build_scope
from gateway.ws.codes import ABNORMAL, INTERNAL_ERROR, NO_CODE, NORMAL, NOT_UTF8, RESTART, TEXT_ONLY
from gateway.ws.common import Common
from gateway.ws.frames import PING, SHORT_TEXT, close_frame, pong_frame, text_frame
from gateway.ws.handshake import Headers, Refused, Upgrade
from gateway.ws.keepalive import Spoke
from gateway.ws.parser import Binary, Close, Event, Parser, Ping, Text, Violation, whole_text
from gateway.ws.state import State

STAGGER = 0.2  # seconds over which a stop says goodbye: who comes back comes back as spread as that
AT_ONCE = 64  # messages of one connection before others have their turn

_PONG = b"\x8a\x80"  # the head of the answer to PING
_OPEN = State.OPEN

logger = logging.getLogger("uvicorn.error")


class WebSocketProtocol(asyncio.Protocol):
    """See gateway.ws.asgi.Direct for what is public beside what asyncio and uvicorn call."""

    __slots__ = (
        "_app_state",
        "_awaits_pong",
        "_common",
        "_config",
        "_conversation",
        "_listener",
        "_parser",
        "_paused",
        "_server_state",
        "_spoke",
        "full",
        "state",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        common: Common,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._common = common
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self.state = State.CONNECTING
        self._conversation: Conversation | None = None  # with the endpoint, until it hands the connection over or ends
        self._listener: Listener | None = None  # to whom it is handed over, while OPEN
        self._parser: Parser | None = None  # None between two messages
        self.full = False  # more is unsent than may be
        self._paused = False  # we do not read
        self._awaits_pong = False
        self._spoke: Spoke | None = None  # while OPEN

    # --- Direct -----------------------------------------------------------------------------------------------------

    def send(self, payloads: list[bytes]) -> None:
        """See Direct."""
        if self.state is not _OPEN:
            return
        if len(payloads) == 1:
            payload = payloads[0]
            length = len(payload)
            self.transport.write(SHORT_TEXT[length] + payload if length < 126 else text_frame(payload))
        else:
            self.transport.write(b"".join([text_frame(payload) for payload in payloads]))

    def buffered(self) -> int:
        """See Direct."""
        return self.transport.get_write_buffer_size()

    def close(self, code: int, reason: str = "") -> None:
        """See Direct."""
        if self.state is State.OPEN:
            self.transport.write(close_frame(code, reason))
            self._leave(State.CLOSING, code, reason)
            self._common.closing.add(self)
            asyncio.get_running_loop().call_soon(self.go_on)  # the answer may be behind what nobody took

    def abort(self) -> None:
        """Drop the connection now, with all that is unsent."""
        self.transport.abort()

    def adopt(self, listener: Listener, room: int) -> None:
        """See Direct."""
        if self.state is not State.OPEN or self._conversation is None:
            asyncio.get_running_loop().call_soon(listener.on_gone)
            return
        conversation, self._conversation = self._conversation, None
        self._listener = listener
        self.transport.set_write_buffer_limits(room)
        for message in conversation.leave_unread():
            text = message.get("text")
            self._hear(Binary(message["bytes"]) if text is None else Text(text))
        self.go_on()

    # --- what asyncio calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """uvicorn has a request that asks for a WebSocket; `data_received` brings it."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of another class
        self._connections().add(self)

    def data_received(self, data: bytes) -> None:
        """A read that is one whole text message, as nearly every one is, needs no parser."""
        if self._listener is not None and self._parser is None:
            payload = whole_text(data, self._common.max_size)
            if payload is not None:
                self._hear_payload(payload)
                return
            if data[:2] == _PONG and len(data) == 6:
                self._awaits_pong = False
                return
        self._receive(data)

    def eof_received(self) -> None:
        """The client will send no more. Without a close that is the end, but for what is unsent."""
        if self.state is State.OPEN:
            self._leave(State.ENDED, ABNORMAL, "")
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to be done."""
        self._connections().discard(self)
        self._common.closing.discard(self)
        conversation = self._conversation
        if self.state is State.OPEN:
            self._leave(State.ENDED, ABNORMAL, "")
        if conversation is not None:
            conversation.end(ABNORMAL, "")
        self.state = State.ENDED
        self._parser = None

    def pause_writing(self) -> None:
        """The client does not read. Then it is not read from: its requests would only add to what it does not read."""
        self.full = True
        if self._conversation is not None:
            self._conversation.set_room(False)
        elif self.state is State.OPEN:
            self._read(False)

    def resume_writing(self) -> None:
        """It reads again."""
        self.full = False
        if self._conversation is not None:
            self._conversation.set_room(True)
        if self._listener is not None:
            self._listener.on_drained()
        self.go_on()

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if self.state >= State.DEAF or self.state is State.REFUSING:
            return
        if self.state is State.CONNECTING and self._conversation is None:
            self._open(data)
            return
        if self._parser is None:
            self._parser = Parser(self._common.max_size)
        self._parser.feed(data)
        self.go_on()

    def go_on(self) -> None:
        """Handle what was read, as far as somebody takes it; then go on reading, or not."""
        for _ in range(AT_ONCE):
            if self._parser is None or not self._is_wanted():
                break
            try:
                event = self._parser.next()
            except Violation as violation:
                self._fail(violation.code, violation.reason)
                return
            if event is None:
                self._parser = None if self._parser.idle else self._parser
                break
            self._hear(event)
        else:
            self._read(False)
            asyncio.get_running_loop().call_soon(self.go_on)
            return
        self._read(self._is_wanted())

    def _is_wanted(self) -> bool:
        """Whether the next message could be handed over, or thrown away."""
        if self.state is State.OPEN:
            return not self.full if self._conversation is None else not self._conversation.unread
        return self.state is not State.CONNECTING or self._parser is None

    def _read(self, on: bool) -> None:
        if self._paused is not on or self.transport.is_closing():
            return
        self._paused = not on
        if on:
            self._awaits_pong = False  # it may have come and not been read
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _hear(self, event: Event) -> None:
        if isinstance(event, Close):
            self._part(event)
        elif self.state is not State.OPEN:
            return  # it has not heard yet that we have said goodbye
        elif isinstance(event, Text | Binary):
            self._take(event)
        elif isinstance(event, Ping):
            self.transport.write(pong_frame(event.payload))
        else:
            self._awaits_pong = False

    def _take(self, message: Text | Binary) -> None:
        if self._conversation is not None:
            key = "text" if isinstance(message, Text) else "bytes"
            self._conversation.put({"type": "websocket.receive", key: message[0]})
        elif isinstance(message, Text):
            self._hand_over(message.text)
        else:
            self.close(TEXT_ONLY, "text frames only")

    def _hear_payload(self, payload: bytes) -> None:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._fail(NOT_UTF8, "not UTF-8")
        else:
            self._hand_over(text)

    def _hand_over(self, text: str) -> None:
        assert self._listener is not None
        try:
            self._listener.on_text(text)
        except Exception:
            logger.exception("a message could not be handled")
            self.close(INTERNAL_ERROR, "internal error")

    # --- the handshake ----------------------------------------------------------------------------------------------

    def _open(self, request: bytes) -> None:
        headers = self._server_state.default_headers
        try:
            upgrade = handshake.read_upgrade(request)
        except Refused as refused:
            length = (b"content-length", str(len(refused.body)).encode())
            self.answer(refused.status, [*headers, *refused.headers, length], refused.body)
            return
        self.open(upgrade)

    def open(self, upgrade: Upgrade) -> None:
        """Ask the endpoint."""
        self._conversation = Conversation(self, upgrade, self._server_state.default_headers)
        scope = build_scope(upgrade, self._config, self._app_state, self.transport, self)
        app: Any = self._config.loaded_app
        task = asyncio.get_running_loop().create_task(self._conversation.run(app, scope))
        task.add_done_callback(self._server_state.tasks.discard)
        self._server_state.tasks.add(task)

    def accept(self, token: bytes, headers: Headers) -> None:
        """The endpoint lets the client in."""
        self.transport.write(handshake.switching(token, headers))
        self.state = State.OPEN
        self._spoke = self._common.keepalive.add(self)
        if self._parser is not None:  # what the client could not wait to say
            asyncio.get_running_loop().call_soon(self.go_on)

    def refuse(self) -> None:
        """It does not, and will say so."""
        self.state = State.REFUSING

    def answer(self, status: int, headers: Headers, body: bytes, *, last: bool = True) -> None:
        """An HTTP response, or its beginning, in place of a WebSocket."""
        self.transport.write(handshake.response_head(status, headers) + body)
        self.state = State.REFUSING
        if last:
            self._end()

    def answer_more(self, body: bytes, *, last: bool) -> None:
        """More of it."""
        self.transport.write(body)
        if last:
            self._end()

    def endpoint_ended(self, *, failed: bool) -> None:
        """Its task is over."""
        adopted = self._conversation is None
        if self.state is State.CONNECTING:
            if not failed:
                logger.error("ASGI callable returned without completing handshake.")
            self.answer(500, [(b"content-length", b"0")], b"")
        elif self.state is State.REFUSING:
            self._end()
        elif failed:
            self.close(INTERNAL_ERROR, "internal error")
        elif not adopted:
            self.close(NORMAL)
        self._conversation = None

    # --- the end ----------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """See Beating. While we do not read, there is no telling whether the client would answer."""
        if self._paused or self.state is not State.OPEN:
            return
        if self._awaits_pong:
            self._fail(INTERNAL_ERROR, "keepalive ping timeout")
        else:
            self._awaits_pong = True
            self.transport.write(PING)

    def shutdown(self) -> None:
        """uvicorn stops: begin to close within STAGGER seconds."""
        if self.state is State.CONNECTING:
            self.answer(503, [(b"content-length", b"0")], b"")
        elif self.state is State.OPEN:
            asyncio.get_running_loop().call_later(random.uniform(0, STAGGER), self.close, RESTART)
        elif self.state > State.OPEN:
            self._end()

    def _leave(self, state: State, code: int, reason: str) -> None:
        """From OPEN on to another state, in which nothing can be sent; tell whoever it concerns."""
        self.state = state
        assert self._spoke is not None
        self._common.keepalive.discard(self, self._spoke)
        self._spoke = None
        if self._conversation is not None:
            self._conversation.end(code, reason)
        elif self._listener is not None:
            asyncio.get_running_loop().call_soon(self._listener.on_gone)
        self._listener = None

    def _part(self, event: Close) -> None:
        """The client says goodbye, or answers ours."""
        if self.state is State.OPEN:
            self.transport.write(close_frame(None if event.code == NO_CODE else event.code))
            self._leave(State.ENDED, event.code, event.reason)
        self._end()

    def _fail(self, code: int, reason: str) -> None:
        """The client has broken the protocol, or is dead. It is not cut off at once: the reset would overtake the close
        while it is still sending. What it sends is thrown away."""
        if self.state is State.OPEN:
            self.transport.write(close_frame(code, reason))
            self._leave(State.DEAF, code, reason)
        if self.state is not State.DEAF or self.transport.is_closing() or not self.transport.can_write_eof():
            self._end()
            return
        self._parser = None
        self._common.closing.add(self)
        self._read(True)
        self.transport.write_eof()

    def _end(self) -> None:
        """Close the transport, and give a client that does not read the time for it that a close has."""
        self.state = State.ENDED
        self._parser = None
        if not self.transport.is_closing():
            self._common.closing.add(self)
            self.transport.close()

    def _connections(self) -> set[Any]:  # uvicorn's type names its own classes
        return self._server_state.connections
