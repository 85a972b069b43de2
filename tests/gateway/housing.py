"""A whole service in the test's own event loop: real HTTP servers around real hubs, one in-process broker, and a worker
that writes what the test says."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx2
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.app import build_app, running
from gateway.caller import CALLER, Caller
from gateway.hub import Hub
from gateway.patience import Patience
from gateway.server import Server, configure
from gateway.sockets import listen, port_of
from gateway.submitting import Keeping
from shared.brokers.memory import MemoryBroker
from shared.brokers.sides import GatewaySide
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.settings import GatewaySettings, Settings
from shared.window import Window
from tests.gateway.serving import until
from tests.gateway.writing import Run, Worker
from tests.memory_store import MemoryStore

Build = Callable[[Settings, GatewaySide, Hub], ASGIApp]
OWNER = "x-owner"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # else each client loads all the world's certificates


def app_with(store: MemoryStore | None) -> Build:
    """What users get; whom the header x-owner names is believed."""

    def build(settings: Settings, broker: GatewaySide, hub: Hub) -> ASGIApp:
        app = build_app(settings, broker, hub, SystemClock(), store=store)

        async def believing(scope: Scope, receive: Receive, send: Send) -> None:
            headers = dict(scope.get("headers", ()))
            scope[CALLER] = Caller(headers.get(OWNER.encode(), b"").decode())
            await app(scope, receive, send)

        return believing

    return build


class Gate:
    """One gateway: its hub, and a client of it. `server` is there where the test asked for a whole one."""

    def __init__(self, hub: Hub, port: int, state: ServerState, server: "Served | None" = None) -> None:
        self.hub = hub
        self.port = port
        self.state = state
        self._server = server
        self.client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, verify=_NO_TLS)

    async def stop(self) -> None:
        """As by a signal; returns when it has ended."""
        assert self._server is not None, "house(servers=True)"
        self._server.server.stop()
        await asyncio.wait_for(self._server.ended, 2)


class Served(NamedTuple):
    """A whole server at work."""

    server: Server
    ended: "asyncio.Task[None]"


class House:
    """The whole. `gate` is the first gateway."""

    def __init__(self, memory: MemoryBroker, gates: list[Gate]) -> None:
        self.memory = memory
        self.gates = gates
        self.gate = gates[0]
        self.client = self.gate.client
        self.worker = Worker(memory)

    async def run(self) -> Run:
        """The next attempt, when a message waits."""
        await until(lambda: len(self.memory.state._life.queue) > 0)
        return self.worker.take_one()

    def works(self) -> None:
        """Be seen as a worker, though nothing waits."""
        assert self.worker.take() == []


@asynccontextmanager
async def house(
    build: Build | None = None,
    *,
    store: MemoryStore | None = None,
    gateways: int = 1,
    servers: bool = False,
    patience: Patience | None = None,
    limits: Limits | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """Everything stops at the end, and must leave no connection, session or subscription behind. `servers`: with all
    that starts and stops a process; else there are only connections, which is faster."""
    memory = MemoryBroker(SystemClock(), limits or Limits())
    whole = Settings(gateway=GatewaySettings(**{"drain_delay": 0, **settings}))
    serve = partial(_whole_server, whole.gateway.drain_delay) if servers else _connections_only
    async with AsyncExitStack() as stack:
        stack.callback(memory.close)
        gates = []
        for number in range(gateways):
            broker = memory.gateway(f"gateway-{number}")
            keeping = None if store is None else Keeping(store, broker, SystemClock(), Window(8192, 1024))
            hub = Hub(broker, SystemClock(), patience or Patience(), keeping)
            app = (build or app_with(store))(whole, broker, hub)
            gates.append(await stack.enter_async_context(_gate(hub, serve(configure(app, whole.gateway), hub))))
        yield House(memory, gates)


@asynccontextmanager
async def _gate(hub: Hub, serving: AbstractAsyncContextManager[Gate]) -> AsyncIterator[Gate]:
    async with running(hub, lambda: None), serving as gate:
        yield gate
        await gate.client.aclose()
        await until(lambda: len(hub) == 0 or gate.hub.stopping)
        assert (len(hub), hub._sessions, hub._watched) == (0, {}, {}), "connections or sessions were left"


def _listen() -> list[socket.socket]:
    """With small buffers, so that a slow reader is noticed after little."""
    sockets = listen("127.0.0.1", 0)
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return sockets


@asynccontextmanager
async def _whole_server(drain_delay: float, config: uvicorn.Config, hub: Hub) -> AsyncIterator[Gate]:
    config.lifespan = "off"
    sockets, server = _listen(), Server(config, hub, drain_delay)
    ended = asyncio.create_task(server.serve(sockets))
    await until(lambda: server.started)
    try:
        yield Gate(hub, port_of(sockets), server.server_state, Served(server, ended))
    finally:
        server.stop()
        await ended


@asynccontextmanager
async def _connections_only(config: uvicorn.Config, hub: Hub) -> AsyncIterator[Gate]:
    config.load()
    state, loop, sockets = ServerState(), asyncio.get_running_loop(), _listen()
    protocol_class: Callable[..., asyncio.Protocol] = config.http_protocol_class
    factory = partial(protocol_class, config=config, server_state=state, app_state={}, _loop=loop)
    server = await loop.create_server(factory, sock=sockets[0])
    try:
        yield Gate(hub, port_of(sockets), state)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.connections and not state.tasks)
