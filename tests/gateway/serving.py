"""A gateway's server, or only its connections, around any ASGI application, inside the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.server import Server, configure
from gateway.sockets import listen, port_of
from gateway.ws.asgi import DIRECT
from gateway.ws.protocol import WebSocketProtocol
from shared.settings import GatewaySettings


class FakeSessions:
    """Stands in for the hub."""

    def __init__(self) -> None:
        self.stopping = False
        self.hints: list[int] = []

    def going_away(self, retry_after_ms: int) -> None:
        self.hints.append(retry_after_ms)

    def farewell(self) -> None:
        pass

    def __len__(self) -> int:
        return 0


class Served:
    """Our protocol classes around an application, listening."""

    def __init__(self, state: ServerState, port: int) -> None:
        self.state = state
        self.port = port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def serving(app: ASGIApp, **settings: Any) -> AsyncIterator[Served]:
    """The connections without the server: it starts and stops at once."""
    config = configure(app, GatewaySettings(**settings))
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    sockets = listen("127.0.0.1", 0)
    protocol_class: Callable[..., asyncio.Protocol] = config.http_protocol_class
    factory = partial(protocol_class, config=config, server_state=state, app_state={}, _loop=loop)
    server = await loop.create_server(factory, sock=sockets[0])
    try:
        yield Served(state, port_of(sockets))
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.connections and not state.tasks)


class Running(Served):
    """A whole server."""

    def __init__(self, server: Server, sessions: FakeSessions, port: int, ended: asyncio.Task[None]) -> None:
        super().__init__(server.server_state, port)
        self.server = server
        self.sessions = sessions
        self.ended = ended


@asynccontextmanager
async def running(app: ASGIApp, drain_delay: float = 0.0, **settings: Any) -> AsyncIterator[Running]:
    """The server with all that belongs to it. Stops at the end, and fails where the server failed."""
    sockets = listen("127.0.0.1", 0)
    sessions = FakeSessions()
    server = Server(configure(with_lifespan(app), GatewaySettings(**settings)), sessions, drain_delay)
    ended = asyncio.create_task(server.serve(sockets))
    try:
        yield Running(server, sessions, port_of(sockets), ended)
    finally:
        server.should_exit = True
        await ended


def with_lifespan(app: ASGIApp) -> ASGIApp:
    """What the server must have, for applications that do without."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    return wrapped


class Endpoint:
    """An ASGI endpoint that accepts, hands its connection to the test and then waits for the end."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[WebSocketProtocol] = asyncio.Queue()
        self.received: asyncio.Queue[Any] = asyncio.Queue()
        self.disconnects: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = scope["extensions"][DIRECT]
        await receive()
        await send({"type": "websocket.accept"})
        self.opened.put_nowait(writer)
        while (message := await receive())["type"] == "websocket.receive":
            self.received.put_nowait(message.get("text") if message.get("text") is not None else message.get("bytes"))
        self.disconnects.put_nowait(dict(message))


class Listening:
    """A listener that puts down what it hears; at `drained` how much is still unsent."""

    def __init__(self, connection: WebSocketProtocol) -> None:
        self.received: asyncio.Queue[str] = asyncio.Queue()
        self.drained: asyncio.Queue[int] = asyncio.Queue()
        self.gone: asyncio.Queue[WebSocketProtocol] = asyncio.Queue()
        self._connection = connection

    def on_text(self, text: str) -> None:
        """See gateway.ws.asgi.Listener."""
        self.received.put_nowait(text)

    def on_drained(self) -> None:
        """See gateway.ws.asgi.Listener."""
        self.drained.put_nowait(self._connection.buffered())

    def on_gone(self) -> None:
        """See gateway.ws.asgi.Listener."""
        self.gone.put_nowait(self._connection)


class Adopting:
    """An ASGI endpoint that accepts, has its connection call back and returns. It is allowed `room` unsent bytes."""

    def __init__(self, room: int = 65_536) -> None:
        self.opened: asyncio.Queue[WebSocketProtocol] = asyncio.Queue()
        self.received: asyncio.Queue[str] = asyncio.Queue()
        self.drained: asyncio.Queue[int] = asyncio.Queue()
        self.gone: asyncio.Queue[WebSocketProtocol] = asyncio.Queue()
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["extensions"][DIRECT]
        await receive()
        await send({"type": "websocket.accept"})
        listening = Listening(connection)
        listening.received, listening.drained, listening.gone = self.received, self.drained, self.gone
        connection.adopt(listening, self._room)
        self.opened.put_nowait(connection)


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@asynccontextmanager
async def raw_client(port: int, sent: bytes = UPGRADE + b"\r\n") -> AsyncIterator[socket.socket]:
    """A socket that reads only when the test does, with a small buffer of its own."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, sent)
        yield client


async def read_to_end(client: socket.socket) -> bytes:
    """All until the server has closed; a reset counts as closed."""
    loop = asyncio.get_running_loop()
    found = bytearray()
    while True:
        try:
            data = await loop.sock_recv(client, 1 << 16)
        except ConnectionResetError:
            return bytes(found)
        if not data:
            return bytes(found)
        found += data


async def until(condition: Callable[[], bool]) -> None:
    """For what no event announces. The test's own time-out ends it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
