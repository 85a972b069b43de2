"""The endpoint `/ws`: from the handshake to a Connection.

Our own server class hands text straight to the connection, and the endpoint is over once the client is let in; with any
other ASGI server it is a pump that feeds the connection.
"""

from collections.abc import Sequence

from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from gateway import origin, protocol
from gateway.caller import caller_of
from gateway.connection import Connection
from gateway.dialect import Dialect
from gateway.hub import Hub
from gateway.outbox import ROOM
from gateway.plain import PlainDialect
from gateway.protocol import JsonDialect
from gateway.writers import AsgiWriter
from gateway.ws.asgi import DIRECT, Direct
from shared.settings import Settings

NO_BINARY = 1003
TOO_LARGE = 1009


class ChatSocket:
    """An ASGI application for one route."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._origins = settings.gateway.origins
        self._largest = settings.gateway.max_message_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a client in, or not; serve it until it ends where there is no direct way."""
        spoken = choose_dialect(scope["subprotocols"])
        if not origin.allowed(scope["headers"], self._origins):
            await PlainTextResponse("This Origin is not allowed.\n", 403)(scope, receive, send)
        elif spoken is None:
            sentence = f"None of these subprotocols is spoken here; {protocol.SUBPROTOCOL} is.\n"
            await PlainTextResponse(sentence, 400)(scope, receive, send)
        else:
            await receive()  # websocket.connect
            subprotocol, dialect = spoken
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
            direct: Direct | None = scope.get("extensions", {}).get(DIRECT)
            if direct is not None:
                connection = Connection(self._hub, dialect, direct, caller_of(scope))
                direct.adopt(connection, ROOM)
            else:
                writer = AsgiWriter(send)
                connection = Connection(self._hub, dialect, writer, caller_of(scope))
                writer.on_drained = connection.on_drained
                await self._pump(connection, writer, receive)

    async def _pump(self, connection: Connection, writer: AsgiWriter, receive: Receive) -> None:
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    return
                self._take(connection, message)
                await writer.room()
        finally:
            connection.on_gone()

    def _take(self, connection: Connection, message: Message) -> None:
        text = message.get("text")
        if text is None:
            connection.close(NO_BINARY, "text frames only")
        elif len(text) > self._largest or (len(text) * 4 > self._largest and len(text.encode()) > self._largest):
            connection.close(TOO_LARGE, "message too large")
        else:
            connection.on_text(text)


def choose_dialect(subprotocols: Sequence[str]) -> tuple[str | None, Dialect] | None:
    """The client's choice; None where it asks only for what is not spoken here."""
    if not subprotocols:
        return None, PlainDialect()
    return (protocol.SUBPROTOCOL, JsonDialect()) if protocol.SUBPROTOCOL in subprotocols else None
