"""A house without its server's clockwork: the connections alone, which are there and gone at once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2

from gateway.app import build_app, running
from gateway.hub import Hub
from gateway.patience import Patience
from shared.brokers.memory import MemoryBroker
from shared.brokers.sides import GatewaySide
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.settings import GatewaySettings, Settings
from shared.store import Store
from tests.gateway.serving import serving, until
from tests.gateway.writing import Run, Worker


class Gate:
    """One gateway and a client of it."""

    def __init__(self, hub: Hub, broker: GatewaySide, port: int) -> None:
        self.hub = hub
        self.broker = broker
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx2.AsyncClient(base_url=self.url, timeout=10)


class House:
    """Gateways around one broker, and a worker that writes what the test says. `gate` is the first gateway."""

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


@asynccontextmanager
async def house(
    *, gateways: int = 1, limits: Limits | None = None, store: Store | None = None, **settings: Any
) -> AsyncIterator[House]:
    """Everything stops at the end, and must leave no connection or session behind."""
    memory = MemoryBroker(SystemClock(), limits or Limits())
    whole = Settings(gateway=GatewaySettings(drain_delay=0, **settings))
    async with AsyncExitStack() as stack:
        stack.callback(memory.close)
        names = [f"gateway-{number}" for number in range(gateways)]
        gates = [await stack.enter_async_context(_gate(memory.gateway(name), whole, store)) for name in names]
        yield House(memory, gates)


@asynccontextmanager
async def _gate(broker: GatewaySide, settings: Settings, store: Store | None) -> AsyncIterator[Gate]:
    hub = Hub(broker, SystemClock(), Patience())
    app = build_app(settings, broker, hub, SystemClock(), store=store)
    async with running(hub, lambda: None), serving(app) as served:
        gate = Gate(hub, broker, served.port)
        async with gate.client:
            yield gate
        await until(lambda: (len(hub), hub._sessions) == (0, {}))
