"""Keeps engine processes alive: starts them, reports a death to the broker at once, renews for those that block."""

import asyncio
import contextlib
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from shared.broker import NoBroker, WorkerBroker
from shared.brokers import open_worker_broker
from shared.children import Child, Children
from shared.clock import Clock, SystemClock
from shared.errors import BrokerUnavailable
from shared.settings import Settings
from worker import engines, report
from worker.process import CANNOT_WORK, MISCONFIGURED, Identity, Misconfigured, within, worker_name
from worker.renewal import Holdings

SLOW_CHECK = 2.0  # seconds between two looks at the queue of suspects
LAST_WORK = 1.4  # seconds that a child may take to stop besides its grace
LAST_CLOSE = 0.3  # seconds for the broker to be told goodbye
SAME_PRESS = 0.3  # seconds: a second signal that soon is the first one, heard of twice
BURY_AGAIN = 0.5  # seconds until a report that did not get through is repeated

log = structlog.get_logger("supervisor")


class Supervisor:
    """The children of one worker. `command` gives the command line of a child that runs suspects alone, or not.

    Its broker is only for reporting deaths, renewing leases and looking for suspects. Made within a running loop.
    """

    def __init__(
        self,
        settings: Settings,
        broker: WorkerBroker,
        clock: Clock,
        family: str,
        command: Callable[[bool], Sequence[str]],
        ends: tuple[socket.socket, socket.socket],
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._clock = clock
        self._family = family
        self._command = command
        self._their_end = ends[1]
        self._reports = report.Reports(ends[0], self._heed)
        self.children = Children(settings.environment(), self._mourn, self._was_fruitful, pass_fds=[ends[1].fileno()])
        self._fruitful: set[int] = set()
        self._holdings: dict[int, Holdings] = {}
        self._alone: Child | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._asked_at = float("-inf")
        self._status = 0

    async def run(self) -> int:
        """Work until told to stop. Returns the exit status."""
        for _ in range(self._settings.worker.processes):
            self.children.start(self._command(False))
        self._spawn(self._renew())
        self._spawn(self._look_for_suspects())
        await self._stopping.wait()
        for task in self._tasks:
            task.cancel()
        farewell = within(LAST_CLOSE, self._broker.close())
        await asyncio.gather(self.children.stop(self._settings.worker.grace + LAST_WORK), farewell)
        self._reports.close()
        self._their_end.close()
        return self._status

    def stop(self) -> None:
        """Let the children finish what they can. The second time: end them now."""
        now = self._clock.now()
        if not self._stopping.is_set():
            self._asked_at = now
            self._stopping.set()
        elif now - self._asked_at > SAME_PRESS:
            for child in self.children.living:
                child.send(signal.SIGKILL)

    # --- deaths ------------------------------------------------------------------------------------------------------

    def _mourn(self, child: Child) -> None:
        """A child has ended: its leases are to be free at once."""
        self._holdings.pop(child.pid, None)
        alone = child is self._alone
        if alone:
            self._alone = None
        if self._stopping.is_set():
            return
        if child.status == MISCONFIGURED:  # it has said why; the next one would say the same
            self._status = MISCONFIGURED
            self._stopping.set()
            return
        if child.status != 0:
            log.warning("an engine process died", child=child.pid, ending=child.ending)
        self._spawn(self._bury(child.pid, alone))

    async def _bury(self, pid: int, alone: bool) -> None:
        name = worker_name(self._family, pid)
        while True:
            try:
                suspects = await self._broker.bury(name)
                break
            except BrokerUnavailable:
                await asyncio.sleep(BURY_AGAIN)
        if not alone:  # after an alone one the slow check goes on, so that one that cannot start does not do so at once
            self._isolate(suspects)

    async def _look_for_suspects(self) -> None:
        while True:
            await asyncio.sleep(SLOW_CHECK)
            with contextlib.suppress(BrokerUnavailable):
                self._isolate((await self._broker.stats()).suspects)

    def _isolate(self, suspects: int) -> None:
        """What crashed its worker twice runs alone, in a child that ends when it has nothing to do."""
        if suspects and self._alone is None and not self._stopping.is_set():
            log.warning("starting a process for replies that crashed theirs twice", waiting=suspects)
            with contextlib.suppress(OSError):  # the slow check tries again
                self._alone = self.children.start(self._command(True), kept=False)

    def _was_fruitful(self, child: Child) -> bool:
        self._reports.read()  # its last words may have come together with its death
        fruitful = child.pid in self._fruitful
        self._fruitful.discard(child.pid)
        return fruitful

    # --- reports -----------------------------------------------------------------------------------------------------

    def _heed(self, told: report.Report) -> None:
        if isinstance(told, report.Fruitful):
            self._fruitful.add(told.pid)
        else:
            holdings = self._holdings.setdefault(told.pid, Holdings(self._settings.lease.seconds))
            holdings.told(told.allowed, told.renewed, self._clock.now())

    async def _renew(self) -> None:
        """For those whose engine holds up their event loop, as long as it may."""
        while True:
            await asyncio.sleep(self._settings.lease.seconds / 6)
            now = self._clock.now()
            due = [lease for holdings in self._holdings.values() for lease in holdings.due(now)]
            if due:
                with contextlib.suppress(BrokerUnavailable):
                    await self._broker.renew(due)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def supervise(settings: Settings) -> int:
    """The worker, from settings to exit status. Raises Misconfigured."""
    family = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    try:
        engines.check(settings.engine)
        broker = await open_worker_broker(settings, f"{family}-supervisor")
    except ValueError as error:
        raise Misconfigured(str(error), CANNOT_WORK if isinstance(error, NoBroker) else MISCONFIGURED) from None
    ends = report.pair()

    def command(alone: bool) -> list[str]:
        return Identity(family, ends[1].fileno(), alone).argv()

    supervisor = Supervisor(settings, broker, SystemClock(), family, command, ends)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    status = await supervisor.run()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # what is left to do takes no time
    return status
