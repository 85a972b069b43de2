"""The ASGI side of a WebSocket: what its endpoint is handed. It is there only while the endpoint runs.

Besides what ASGI has, `scope["extensions"][DIRECT]` is a Direct: an endpoint that hands its connection over to
callbacks may return, and neither task nor scope nor queue of it is left.
"""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected, is_ssl

from gateway.ws.codes import NORMAL
from gateway.ws.frames import binary_frame, text_frame
from gateway.ws.handshake import Headers, Upgrade
from gateway.ws.state import State

if TYPE_CHECKING:
    from gateway.ws.protocol import WebSocketProtocol

DIRECT = "llm_chat.direct"

logger = logging.getLogger("uvicorn.error")


class Listener(Protocol):
    """Who takes a connection over."""

    def on_text(self, text: str) -> None:
        """A text message has come."""
        ...

    def on_drained(self) -> None:
        """The unsent bytes, after they had been too many, are few again."""
        ...

    def on_gone(self) -> None:
        """Nothing can be sent any more. Called once, in a later turn of the loop."""
        ...


class Direct(Protocol):
    """The direct way to one connection: no task, no queue, nothing to await. Also a gateway.outbox.Writer."""

    full: bool
    """Whether more than `room` bytes are unsent, or have been and are not few yet."""

    def adopt(self, listener: Listener, room: int) -> None:
        """From now on text messages go to the listener and binary ones are refused; the endpoint should return. While
        more than `room` bytes are unsent nothing is read."""
        ...

    def send(self, payloads: list[bytes]) -> None:
        """Send text messages with these payloads, in UTF-8, in one write. A closed connection swallows them."""
        ...

    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake. Nothing where it has begun."""
        ...


class Conversation:
    """`receive` and `send` of one endpoint."""

    def __init__(self, connection: "WebSocketProtocol", upgrade: Upgrade, default_headers: Headers) -> None:
        self._connection = connection
        self._accept = upgrade.accept
        self._default_headers = default_headers
        self._messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._last: Message | None = None  # the disconnect
        self._closed = False  # by the endpoint
        self._denial: tuple[int, Headers] | None = None  # whose head goes with the first of its body

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """The endpoint's task."""
        failed = True
        try:
            await app(scope, self.receive, self.send)
            failed = False
        except ClientDisconnected:
            failed = False
        except Exception:
            logger.exception("Exception in ASGI application\n")
        finally:
            self._connection.endpoint_ended(failed=failed)

    # --- for the connection -----------------------------------------------------------------------------------------

    @property
    def unread(self) -> bool:
        """Whether the endpoint has yet to take what there is."""
        return bool(self._messages)

    def put(self, message: Message) -> None:
        """Something has come."""
        self._messages.append(message)
        self._arrived.set()

    def end(self, code: int, reason: str) -> None:
        """Nothing more will; only the first time counts."""
        self._last = self._last or {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._arrived.set()
        self._room.set()

    def set_room(self, room: bool) -> None:
        """Whether the socket takes more."""
        if room:
            self._room.set()
        else:
            self._room.clear()

    def leave_unread(self) -> list[Message]:
        """What the endpoint has not taken and will not take."""
        unread, self._messages = list(self._messages), deque()
        return unread

    # --- for the endpoint -------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """See ASGI. Behind the disconnect there is nothing but the disconnect."""
        while not self._messages and self._last is None:
            self._arrived.clear()
            await self._arrived.wait()
        if self._messages:
            asyncio.get_running_loop().call_soon(self._connection.go_on)  # behind what the endpoint says to this one
            return self._messages.popleft()
        assert self._last is not None
        return self._last

    async def send(self, message: Message) -> None:
        """See ASGI. Waits for room in the socket. Raises ClientDisconnected, which is an OSError."""
        await self._room.wait()
        state, kind = self._connection.state, message["type"]
        if state is State.CONNECTING:
            self._answer(kind, message)
        elif state is State.REFUSING and kind == "websocket.http.response.body":
            self._deny(message)
        elif state is State.OPEN and kind in ("websocket.send", "websocket.close"):
            self._say(kind, message)
        elif state in (State.REFUSING, State.OPEN) or self._closed:
            raise RuntimeError(f"{kind!r} cannot be sent now")
        else:
            raise ClientDisconnected

    def _answer(self, kind: str, message: Message) -> None:
        """The first message decides."""
        if kind == "websocket.accept":
            headers = [*self._default_headers, *_headers(message)]
            if message.get("subprotocol"):
                headers.append((b"sec-websocket-protocol", message["subprotocol"].encode("latin-1")))
            self._connection.accept(self._accept, headers)
        elif kind == "websocket.close":
            self._closed = True
            self._connection.answer(403, [*self._default_headers, (b"content-length", b"0")], b"")
        elif kind == "websocket.http.response.start":
            self._denial = int(message["status"]), [*self._default_headers, *_headers(message)]
            self._connection.refuse()
        else:
            raise RuntimeError(f"{kind!r} cannot be sent before 'websocket.accept'")

    def _deny(self, message: Message) -> None:
        body, last = message.get("body", b""), not message.get("more_body")
        denial, self._denial = self._denial, None
        if denial is not None:
            status, headers = denial
            if last and all(name != b"content-length" for name, _ in headers):
                headers.append((b"content-length", str(len(body)).encode()))
            self._connection.answer(status, headers, body, last=last)
        else:
            self._connection.answer_more(body, last=last)
        self._closed = last

    def _say(self, kind: str, message: Message) -> None:
        text, data = message.get("text"), message.get("bytes")
        if kind == "websocket.close":
            self._closed = True
            self._connection.close(message.get("code", NORMAL), message.get("reason") or "")
        elif text is not None:
            self._connection.transport.write(text_frame(text.encode()))
        elif data is not None:
            self._connection.transport.write(binary_frame(data))
        else:
            raise RuntimeError("'websocket.send' needs text or bytes")


def build_scope(
    upgrade: Upgrade, config: Config, app_state: dict[str, Any], transport: asyncio.Transport, direct: Direct
) -> Scope:
    """The scope of an endpoint, as uvicorn makes it."""
    raw_path, _, query = upgrade.target.partition(b"?")
    return {
        "type": "websocket",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": _address(transport.get_extra_info("sockname")),
        "client": _address(transport.get_extra_info("peername")),
        "root_path": config.root_path,
        "path": config.root_path + unquote(raw_path.decode("latin-1")),
        "raw_path": config.root_path.encode() + raw_path,
        "query_string": query,
        "headers": upgrade.headers,
        "subprotocols": upgrade.subprotocols,
        "state": app_state.copy(),
        "extensions": {"websocket.http.response": {}, DIRECT: direct},
    }


def _address(name: Any) -> tuple[str, int | None] | None:
    """As in uvicorn; but that one asks the socket, and uvloop keeps an object of its own for that."""
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) and name else None


def _headers(message: Message) -> Headers:
    return [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
