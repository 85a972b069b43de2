"""A whole service in the test's own event loop: real HTTP servers around real hubs, one in-process broker, and a worker
that writes what the test says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import build_app, running
from gateway.caller import CALLER, Caller
from gateway.hub import Hub
from gateway.patience import Patience
from gateway.server import Server, configure
from gateway.sockets import listen, port_of
from shared.brokers.memory import MemoryBroker
from shared.brokers.sides import GatewaySide
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.settings import GatewaySettings, Settings
from tests.gateway.serving import until
from tests.gateway.writing import Run, Worker
from tests.memory_store import MemoryStore

Build = Callable[[Settings, GatewaySide, Hub], ASGIApp]
OWNER = "x-owner"


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
    """One gateway: its server, its hub, and a client of it."""

    def __init__(self, server: Server, hub: Hub, port: int, ended: asyncio.Task[None]) -> None:
        self.server = server
        self.hub = hub
        self.port = port
        self.ended = ended
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx2.AsyncClient(base_url=self.url, timeout=10)


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
    patience: Patience | None = None,
    limits: Limits | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """Everything stops at the end, and must leave no connection, session or subscription behind."""
    memory = MemoryBroker(SystemClock(), limits or Limits())
    whole = Settings(gateway=GatewaySettings(drain_delay=0, **settings))
    async with AsyncExitStack() as stack:
        stack.callback(memory.close)
        gates = [
            await stack.enter_async_context(
                _gate(memory.gateway(f"gateway-{n}"), whole, build or app_with(store), patience or Patience())
            )
            for n in range(gateways)
        ]
        yield House(memory, gates)


@asynccontextmanager
async def _gate(broker: GatewaySide, settings: Settings, build: Build, patience: Patience) -> AsyncIterator[Gate]:
    hub = Hub(broker, SystemClock(), patience)
    app = build(settings, broker, hub)
    sockets = listen("127.0.0.1", 0)
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # so that a slow reader is noticed after little
    config = configure(app, settings.gateway)
    config.lifespan = "off"
    server = Server(config, hub, 0)
    async with running(hub, lambda: None):
        ended = asyncio.create_task(server.serve(sockets))
        await until(lambda: server.started)
        gate = Gate(server, hub, port_of(sockets), ended)
        try:
            yield gate
        finally:
            await gate.client.aclose()
            server.stop()
            await ended
            assert (len(hub), hub._sessions) == (0, {}), "connections or sessions were left"
