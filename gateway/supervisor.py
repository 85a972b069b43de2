"""Several gateway processes on the same sockets, and the parent that keeps them. It serves nothing itself."""

import asyncio
import signal
import socket
import sys

import structlog

from gateway.process import CANNOT_SERVE, WRONG_SETTING
from gateway.server import SIGNALS
from shared.broker import NoBroker
from shared.brokers import check_broker
from shared.children import Child, Children
from shared.clock import Clock, SystemClock
from shared.settings import Settings

GRACE = 4.5  # seconds; a gateway needs less than four
CALM = 30.0  # seconds without a death, after which one more is an accident and not a habit

log = structlog.get_logger("gateway")


def supervise(settings: Settings, sockets: list[socket.socket]) -> int:
    """Keep `settings.gateway.processes` gateways until a signal comes; returns the exit status."""
    try:
        asyncio.run(check_broker(settings))
    except ValueError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return CANNOT_SERVE if isinstance(error, NoBroker) else WRONG_SETTING
    status = asyncio.run(Supervisor(settings, sockets, SystemClock()).run())
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a late one could only spoil the exit status
    return status


class Supervisor:
    """Restarts gateways that die, except where their settings are wrong."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], clock: Clock) -> None:
        descriptors = [one.fileno() for one in sockets]
        self._argv = [sys.executable, "-m", "gateway.child", *map(str, descriptors)]
        self._processes = settings.gateway.processes
        self._clock = clock
        self._died_at = float("-inf")
        self._calm = True
        self._stopped = asyncio.Event()
        self._status = 0
        self._children = Children(settings.environment(), self._on_exit, self._was_fruitful, descriptors)

    async def run(self) -> int:
        """Returns the exit status."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.set)
        for _ in range(self._processes):
            self._children.start(self._argv)
        await self._stopped.wait()
        await self._children.stop(GRACE)
        return self._status

    def _on_exit(self, child: Child) -> None:
        now = self._clock.now()
        self._calm, self._died_at = now - self._died_at > CALM, now
        if self._stopped.is_set():
            return
        if child.status == WRONG_SETTING:
            self._status = WRONG_SETTING
            self._stopped.set()
        else:
            log.warning("a gateway process has died; starting another one", child=child.pid, how=child.ending)

    def _was_fruitful(self, child: Child) -> bool:
        return self._calm
