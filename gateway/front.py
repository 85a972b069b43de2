"""The first of a connection's protocols: by what is read first it decides which one serves the connection.

A WebSocket's whole and ordinary upgrade, as nearly all connections bring, goes straight to the protocol that serves it:
uvicorn's HTTP protocol would take longer to be made, to parse it and to hand it over than all that comes after. What is
anything else goes to that protocol, as if nothing had been in between.
"""

import asyncio
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.deadlines import Deadlines
from gateway.uvicorn_http import HttpProtocol
from gateway.ws import handshake
from gateway.ws.common import Common
from gateway.ws.protocol import WebSocketProtocol


class Front(asyncio.Protocol):
    """`nascent`: connections that still have to bring their request's headers."""

    __slots__ = ("_app_state", "_common", "_config", "_connections", "_nascent", "_server_state", "transport")

    transport: asyncio.Transport

    def __init__(
        self,
        nascent: Deadlines,
        common: Common,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._nascent = nascent
        self._common = common
        self._config = config
        self._server_state = server_state
        self._connections: set[Any] = server_state.connections  # uvicorn's type names its own classes
        self._app_state = app_state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of another class
        self._connections.add(self)
        self._nascent.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone without a word."""
        self._connections.discard(self)
        self._nascent.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        """The first read is also the last one that comes here."""
        self._connections.discard(self)
        upgrade = handshake.read_ordinary(data)
        if upgrade is None:
            http = HttpProtocol(self._nascent, self._config, self._server_state, self._app_state)
            http.connection_made(self.transport)
            self.transport.set_protocol(http)
            http.data_received(data)
        else:
            self._nascent.discard(self.transport)
            socket = WebSocketProtocol(self._common, self._config, self._server_state, self._app_state)
            socket.connection_made(self.transport)
            self.transport.set_protocol(socket)
            socket.open(upgrade)

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.transport.close()
