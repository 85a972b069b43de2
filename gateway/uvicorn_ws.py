"""uvicorn's WebSocket protocol, with a direct way to the socket and without its noise.

Stock: the handshake, the ASGI messages, frames and their limits, pings. Here: `scope["extensions"][WRITER]` holds a
Writer; bad UTF-8 is a plain 1007; a peer that never reads cannot hold a closed connection for ever.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from gateway.frames import Boundary, whole_text

WRITER = "llm_chat.writer"


class Writer(Protocol):
    """The direct way to one connection's socket: no task, no queue, nothing to await."""

    on_drained: Callable[[], None] | None
    """Called when the unsent bytes, after they had been above the transport's high mark, fall below its low one."""

    def write(self, frames: bytes) -> bool:
        """Send ready-made frames; False, and nothing sent, where the connection is not open (any more)."""
        ...

    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""
        ...

    def limit(self, room: int) -> None:
        """Set the transport's high mark, in bytes."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; `receive` then gives `websocket.disconnect`. Nothing where it has begun."""
        ...

    def abort(self) -> None:
        """Drop the connection now, with all that is unsent."""
        ...


class ChatProtocol(WebSocketsSansIOProtocol):
    """Stock, and a Writer."""

    on_drained: Callable[[], None] | None = None
    on_text: Callable[[str], None] | None = None  # takes text frames, which then do not come by `receive`
    boundary: Boundary | None = None  # from the accept on, unless the client sent frames before it
    reads = 0  # that went to the parser; the first is the handshake
    between = False  # whether the last read ended between two messages

    # --- Writer -----------------------------------------------------------------------------------------------------

    def write(self, frames: bytes) -> bool:
        """See Writer."""
        transport = self.transport
        if self.close_sent or not self.handshake_complete or transport.is_closing():
            return False
        transport.write(frames)
        return True

    def buffered(self) -> int:
        """See Writer."""
        return self.transport.get_write_buffer_size()

    def limit(self, room: int) -> None:
        """See Writer."""
        self.transport.set_write_buffer_limits(room)

    def close(self, code: int, reason: str = "") -> None:
        """See Writer. What the stock class does for `websocket.close`, but it needs no task and ends for certain."""
        if not self.is_open():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        """See Writer."""
        self.transport.abort()

    def is_open(self) -> bool:
        """Whether frames may be sent: accepted, and nobody has begun to close."""
        return self.handshake_complete and not self.close_sent and not self.transport.is_closing()

    # --- what differs from stock ------------------------------------------------------------------------------------

    def listen(self, on_text: Callable[[str], None]) -> None:
        """Have text frames handed over as they are read, without a queue and a task in between."""
        self.on_text = on_text
        if self.reads == 1:
            self.boundary, self.between = Boundary(), True

    def data_received(self, data: bytes) -> None:
        """A read that is one whole text frame, which most are, needs no parser: that took an eighth of the CPU."""
        payload = whole_text(data) if self.between and not self.close_sent else None
        if payload is not None and len(payload) <= (self.config.ws_max_size or 0):
            self.take_text(payload)
            return
        self.reads += 1
        if self.boundary is not None:
            self.between = self.boundary.feed(data)
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        """Offer the Writer. The endpoint's task, made by the stock class, has not begun to run yet."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions[WRITER] = self

    def answer_unparsed_request(self) -> None:
        """Close where websockets could not parse the upgrade (too many headers, for one): stock waits for ever."""
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        """One way of closing, also while the peer does not read; all else as usual."""
        if message["type"] == "websocket.close" and self.handshake_complete and not self.close_sent:
            if self.disconnected:
                raise ClientDisconnected
            self.close(message.get("code", 1000), message.get("reason") or "")
        else:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
                self.handshake_complete = True  # by a refusal; stock logs an error at the endpoint's end

    def handle_cont(self, event: Frame) -> None:
        """Empty fragments count nothing towards the size limit, but each would be kept."""
        if event.data or event.fin:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Bad UTF-8 is the client's fault: stock writes a traceback."""
        if self.curr_msg_data_type != "text" or self.close_sent:
            super().send_receive_event_to_app()
            return
        self.take_text(b"".join(self.frames))

    def take_text(self, payload: bytes) -> None:
        """A whole text message."""
        self.frames = []
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            if self.conn.state is State.OPEN:
                self.conn.send_close(1007, "not UTF-8")
            self.handle_parser_exception()
            return
        if self.on_text is None:
            self.frames = [payload]
            super().send_receive_event_to_app()
        else:
            self._hand_over(text, self.on_text)

    def _hand_over(self, text: str, on_text: Callable[[str], None]) -> None:
        try:
            on_text(text)
        except Exception:
            self.logger.exception("a frame could not be handled")
            self.close(1011, "internal error")

    def shutdown(self) -> None:
        """Stock raises InvalidState where the peer has begun to close."""
        if self.handshake_complete and self.conn.state is not State.OPEN:
            self.stop_keepalive()
            self.transport.close()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Who does not read is not read from: its requests would only add to what it does not read."""
        super().pause_writing()
        if self.on_text is not None and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Tell the Writer's user too."""
        super().resume_writing()
        if self.on_text is not None and self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()
        if self.on_drained is not None:
            self.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the Writer's user."""
        super().connection_lost(exc)
        self.on_drained = self.on_text = None

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The endpoint has ended: let go of its scope, which holds this very object."""
        super().on_task_complete(task)
        del self.scope

    # --- closing with unsent bytes: the transport would wait for its peer without end -------------------------------

    def handle_close(self, event: Frame) -> None:
        """The peer closes."""
        super().handle_close(event)
        self.limit_closing()

    def handle_parser_exception(self) -> None:
        """The peer breaks the protocol."""
        super().handle_parser_exception()
        self.limit_closing()

    def keepalive_timeout(self) -> None:
        """The peer does not answer."""
        super().keepalive_timeout()
        self.limit_closing()

    def eof_received(self) -> None:
        """The peer will send no more."""
        super().eof_received()
        self.limit_closing()

    def limit_closing(self) -> None:
        """Give a peer that does not read `close_timeout` seconds for what is unsent."""
        if self.close_timer is None and not self.disconnected and self.buffered():
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
