"""Engine processes around the real runner, and the supervisor that replaces and buries them."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from shared.brokers.manager import ManagerLink
from shared.brokers.sides import WorkerSide
from shared.clock import Clock
from shared.errors import BrokerUnavailable
from shared.store import Store
from tests.simulation.engines import Engines
from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import Address
from worker.process import LONELY
from worker.runner import Runner
from worker.supervisor import BURY_AGAIN, SLOW_CHECK

GRACE = 1.0  # seconds that a worker which is told to stop may go on
RESTART = 0.3  # seconds until a process that has ended is replaced


class Unwatched:
    """See worker.runner.Watch: reports to the supervisor are not a part of the simulation."""

    def appended(self) -> None:
        """See Watch."""

    def holding(self, allowed: Sequence[tuple[int, float]], renewed: bool) -> None:
        """See Watch."""


class WorkerProcess:
    """One life of an engine process. `ended` is called when it ends by itself."""

    def __init__(
        self,
        loop: SimLoop,
        name: str,
        clock: Clock,
        address: Address,
        engines: Engines,
        *,
        slots: int,
        lease: float,
        alone: bool,
        ended: Callable[["WorkerProcess"], None],
        store: Store | None,
    ) -> None:
        self.process = Process(loop, name)
        self.alone = alone
        self._address = address
        self._ended = ended
        self._store = store
        self.process.run(self._start, clock, engines, slots, lease, store)

    def _start(self, clock: Clock, engines: Engines, slots: int, lease: float, store: Store | None) -> None:
        name = self.process.name
        link = ManagerLink(self._address.as_home(), name)
        link.start()
        self._side = WorkerSide(link, name)
        self._engine = engines.make(clock)
        self.runner = Runner(
            self._side, self._engine, clock, slots=slots, lease=lease, watch=Unwatched(), alone=self.alone, store=store
        )
        self._stopped = asyncio.Event()
        self.process.loop.create_task(self._serve())

    def stop(self) -> None:
        """SIGTERM."""
        self.process.run(self._stopped.set)

    def kill(self) -> None:
        """SIGKILL."""
        self._address.network.cut(self.process)
        self.process.kill()

    async def _serve(self) -> None:
        """As worker.process.serve and run."""
        working = asyncio.ensure_future(self.runner.run())
        ends = [working, asyncio.ensure_future(self._wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await self.runner.drain(GRACE)
        for end in ends:
            end.cancel()
        await asyncio.wait(ends)
        if not working.cancelled():
            working.result()
        await self._side.close()
        await self._engine.close()
        if self._store is not None:
            await self._store.close()
        self._ended(self)

    async def _wait(self) -> None:
        """Until told to stop; one that runs alone also ends when it has nothing to do."""
        if not self.alone:
            await self._stopped.wait()
            return
        waits = [asyncio.ensure_future(self._stopped.wait()), asyncio.ensure_future(self.runner.idle(LONELY))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Supervisor:
    """Keeps `workers` alive: what worker/supervisor.py does. `make` starts a process, alone or not."""

    def __init__(self, loop: SimLoop, address: Address, count: int, make: Callable[[bool], WorkerProcess]) -> None:
        self._loop = loop
        self._make = make
        self.process = Process(loop, "supervisor")
        self.stopping = False
        self.workers: list[WorkerProcess] = []
        self.process.run(self._start, address, count)

    def _start(self, address: Address, count: int) -> None:
        link = ManagerLink(address.as_home(), "supervisor")
        link.start()
        self._side = WorkerSide(link, "supervisor")
        for _ in range(count):
            self._add(False)
        self._looking = self._loop.create_task(self._look_for_suspects())

    def mourn(self, worker: WorkerProcess, after: float | None) -> None:
        """One has ended: it is replaced, and buried `after` seconds (None: never)."""
        self.workers.remove(worker)
        if self.stopping:
            return
        loop, main = self._loop, self.process.main
        if after is not None:
            loop.post(main, loop.now + after, self._begin_bury, worker)
        if not worker.alone:
            loop.post(main, loop.now + RESTART, self._add, False)

    def _add(self, alone: bool) -> None:
        if not self.stopping:
            self.workers.append(self._make(alone))

    def _begin_bury(self, worker: WorkerProcess) -> None:
        self._loop.create_task(self._bury(worker.process.name, worker.alone))

    async def _bury(self, name: str, alone: bool) -> None:
        while True:
            try:
                suspects = await self._side.bury(name)
                break
            except BrokerUnavailable:
                await asyncio.sleep(BURY_AGAIN)
        if not alone:
            self._isolate(suspects)

    async def _look_for_suspects(self) -> None:
        while True:
            await asyncio.sleep(SLOW_CHECK)
            with contextlib.suppress(BrokerUnavailable):
                self._isolate((await self._side.stats()).suspects)

    def _isolate(self, suspects: int) -> None:
        if suspects and not any(worker.alone for worker in self.workers):
            self._add(True)

    def stop(self) -> None:
        """Everybody finishes or hands over."""
        self.stopping = True
        for worker in tuple(self.workers):
            worker.stop()
        self._looking.cancel()
        self.process.spawn(self._side.close())
