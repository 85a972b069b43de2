"""uvicorn's HTTP protocol with bounds on what it lacks them for: the time and the size of request headers."""

import asyncio
import sys
from typing import Any

from httptools import HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.deadlines import Deadlines
from gateway.ws.protocol import WebSocketProtocol

ABORT = "llm_chat.abort"  # the extension in an ASGI scope by which a connection can be dropped, with what is unsent
HEADERS_LIMIT = 65_536  # bytes of one request's line and headers
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 25\r\nconnection: close\r\n\r\n"
    b"The headers are too large"
)


class HttpProtocol(HttpToolsProtocol):
    """Stock, but: a connection whose headers are late or too large is closed, and one that became a WebSocket leaves
    nothing behind."""

    def __init__(
        self,
        nascent: Deadlines,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.nascent = nascent
        self.unparsed = 0  # bytes received since the last complete headers
        self.read = b""  # what is being handled

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.nascent.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.nascent.discard(self.transport)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.nascent.add(self.transport)
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}

    def on_headers_complete(self) -> None:
        self.nascent.discard(self.transport)
        self.unparsed = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        self.unparsed += len(data)
        self.read = data
        super().data_received(data)
        self.read = b""
        if self.transport not in self.nascent:
            self.unparsed = 0
        elif self.unparsed > HEADERS_LIMIT and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        if self.scope["http_version"] != "1.1":
            self.send_400_response("A WebSocket needs HTTP/1.1.")
            return
        super().handle_websocket_upgrade()
        protocol, upgrade = self.transport.get_protocol(), sys.exception()
        if isinstance(protocol, WebSocketProtocol) and isinstance(upgrade, HttpParserUpgrade):
            early = self.read[upgrade.args[0] :]  # behind the headers; uvicorn would throw it away
            if early:
                protocol.data_received(early)
        self.parser = None  # type: ignore[assignment]  # parser and protocol hold each other: 4 KB until the next gc
