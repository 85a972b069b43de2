"""A gateway's process: the real hub over the real link, and the sockets of its people."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from gateway.hub import Hub
from gateway.patience import Patience
from gateway.submitting import Keeping
from shared.brokers.manager import ManagerLink
from shared.brokers.sides import GatewaySide
from shared.clock import Clock
from shared.store import Store
from shared.window import Window
from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import Address
from tests.simulation.socket import Socket

PATIENCE = Patience(send=6.0)
WINDOW = Window(32_768, 4_096)
RETRY_AFTER_MS = 300
SERVICE_RESTART = 1012
DRAIN_DELAY, CLOSING = 1.0, 0.5  # seconds between the hint to leave and the closing, and from there to the end


class GatewayProcess:
    """One life of a gateway. `revive` starts a broker where none listens."""

    def __init__(
        self,
        loop: SimLoop,
        name: str,
        clock: Clock,
        address: Address,
        revive: Callable[[], None],
        chance: Random,
        store: Store | None,
    ) -> None:
        self.loop = loop
        self.process = Process(loop, name)
        self.sockets: list[Socket] = []
        self.chance = chance
        self._address = address
        self._store = store
        self.process.run(self._start, clock, revive, store)

    def _start(self, clock: Clock, revive: Callable[[], None], store: Store | None) -> None:
        name = self.process.name
        link = ManagerLink(self._address.as_home(), name, revive)
        link.start()
        self.side = GatewaySide(link, name)
        keeping = None if store is None else Keeping(store, self.side, clock, WINDOW)
        self.hub = Hub(self.side, clock, PATIENCE, keeping)
        self._draining = self.loop.create_task(self._drain())

    async def _drain(self) -> None:
        await self.hub.run()

    @property
    def refuses(self) -> bool:
        """Whether it takes no new connections."""
        return self.hub.stopping or not self.process.alive

    def kill(self) -> None:
        """SIGKILL."""
        for socket in self.sockets:
            socket.cut()
        self._address.network.cut(self.process)
        self.process.kill()

    def stop(self) -> "asyncio.Task[None]":
        """SIGTERM: as gateway/server.py does it."""
        return self.process.spawn(self._stop())

    def _stop(self) -> Coroutine[Any, Any, None]:
        self.hub.stopping = True
        self.hub.going_away(RETRY_AFTER_MS)
        return self._leave()

    async def _leave(self) -> None:
        await asyncio.sleep(DRAIN_DELAY)
        for socket in tuple(self.sockets):
            socket.close(SERVICE_RESTART, "service restart")
        await asyncio.sleep(CLOSING)
        for socket in tuple(self.sockets):
            socket.abort()
        self._draining.cancel()
        await self.hub.close()
        await self.side.close()
        if self._store is not None:
            await self._store.close()

    def left(self) -> list[str]:
        """G11: what it still knows of its people."""
        hub = self.hub
        known = {"connections": len(hub), "sessions": len(hub._sessions), "outboxes": len(hub._touched)}
        return [f"{self.process.name} still has {count} {what}" for what, count in known.items() if count]
