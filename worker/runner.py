"""The heart of an engine process: one poll loop that claims, renews and hears of cancels; runs in between."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog

from shared.broker import WorkerBroker
from shared.clock import Clock
from shared.errors import BrokerUnavailable
from shared.messages import Lease, Polled
from shared.store import Store
from worker.batching import Pacer
from worker.engines.base import Engine
from worker.flusher import NEAR, Flusher
from worker.recall import Recall
from worker.run import Run

RENEWALS = 12  # of a lease: after this part of it the next poll renews; the poll itself waits up to a third
POLL_CAP = 0.005  # seconds between the beginnings of two polls that both bring something, at most
LAST_FLUSH = 0.5  # seconds for what is still to be sent when a process stops
LAST_CALL = 0.3  # seconds for handing leases back

log = structlog.get_logger("runner")


class Watch(Protocol):
    """Somebody outside this process who wants to know how it fares."""

    def appended(self) -> None:
        """The broker has stored something."""
        ...

    def holding(self, allowed: Sequence[tuple[int, float]], renewed: bool) -> None:
        """All leases in force, with the seconds from now for which each may be renewed on behalf of this process.
        `renewed`: it is just doing so itself. Told only where the engine may hold up the event loop."""
        ...


class Runner:
    """Runs what it claims, up to `slots` at a time. Made within a running loop.

    `lease` is how long one lasts, in seconds. `alone`: take only what must run alone.
    `store`: where it is stored how stored messages were answered, and what was said before them.
    """

    def __init__(
        self,
        broker: WorkerBroker,
        engine: Engine,
        clock: Clock,
        *,
        slots: int,
        lease: float,
        watch: Watch,
        alone: bool = False,
        store: Store | None = None,
    ) -> None:
        self._broker = broker
        self._engine = engine
        self._clock = clock
        self._slots = slots
        self._renew_after = lease / RENEWALS
        self._alone = alone
        self._watch = watch
        self._runs: dict[int, Run] = {}
        self._start = Recall(engine, store).start
        self._flusher = Flusher(broker, clock, self, store)
        self._pacer = Pacer(POLL_CAP)
        self._epoch = ""
        self._seen = 0
        self._renewed_at = float("-inf")
        self._claims = 0
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def idle(self, seconds: float) -> None:
        """Return when nothing has run here for that long."""
        claims = -1
        while claims != self._claims:
            await self._empty.wait()
            claims = self._claims
            await asyncio.sleep(seconds)

    async def run(self) -> None:
        """Work until cancelled. Raises what cannot be mended by waiting."""
        polling = asyncio.ensure_future(self._poll())
        try:
            done, _ = await asyncio.wait({polling, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await polling

    async def drain(self, grace: float) -> None:
        """Claim nothing more, finish what can be finished within `grace` seconds, hand back the rest. `run` must go on
        meanwhile."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), grace)
        for run in tuple(self._runs.values()):
            run.halt()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._flusher.rest(), LAST_FLUSH)
        self._flusher.close()
        await self._release(list(self._runs))

    # --- polling -----------------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        while True:
            free = 0 if self._draining else max(0, self._slots - len(self._runs))
            polled = await self._broker.poll(self._seen, self._held(), free, self._alone)
            self._pacer.began(self._clock.now())
            self._flusher.linked()
            self._heed(polled)
            now = self._clock.now()
            self._pacer.answered(now)
            if (wait := self._pacer.wait(now, urgent=False)) >= NEAR:
                await asyncio.sleep(wait)

    def _held(self) -> list[int] | None:
        """The leases to renew, when it is time; None otherwise, so that a poll stays cheap with thousands of leases."""
        now = self._clock.now()
        if not self._runs or now - self._renewed_at < self._renew_after:
            return None
        self._renewed_at = now
        allowed = self._allowed(now)
        if self._engine.blocks:
            self._watch.holding(allowed, True)
        return [number for number, seconds in allowed if seconds > 0]

    def _allowed(self, now: float) -> list[tuple[int, float]]:
        return [(number, run.patience(now)) for number, run in self._runs.items()]

    def _heed(self, polled: Polled) -> None:
        self._seen = polled.number
        if polled.epoch != self._epoch:  # the broker has forgotten what it gave us
            self._epoch = polled.epoch
            self._lose(list(self._runs))
        self._lose(polled.lost)
        self._claim(polled.leases)
        for cancelled in polled.cancelled:
            run = self._runs.get(cancelled.lease)
            if run is not None:
                run.cancel(cancelled.age_ms)

    def _lose(self, leases: Iterable[int]) -> None:
        for number in leases:
            run = self._runs.get(number)
            if run is not None:
                run.abort()
                self.settled(run)

    def _claim(self, leases: Sequence[Lease]) -> None:
        if not leases:
            return
        if self._draining:
            self._broker.release([lease.number for lease in leases])
            return
        runs = [Run(lease, self._engine, self._flusher, self._clock, self._start) for lease in leases]
        self._runs.update((run.lease.number, run) for run in runs)
        self._claims += 1
        self._empty.clear()
        if self._engine.blocks:  # told before the engine has a chance to block
            self._watch.holding(self._allowed(self._clock.now()), False)
        for run in runs:
            run.begin()

    # --- what the flusher tells: worker.flusher.Owner ----------------------------------------------------------------

    def appended(self) -> None:
        """See Owner."""
        self._watch.appended()

    def settled(self, run: Run) -> None:
        """See Owner."""
        if self._runs.pop(run.lease.number, None) is not None and not self._runs:
            self._empty.set()

    def broken(self, error: BaseException) -> None:
        """See Owner. `run` raises it."""
        if not self._failure.done():
            self._failure.set_exception(error)

    # --- leaving -----------------------------------------------------------------------------------------------------

    async def _release(self, leases: list[int]) -> None:
        if leases:
            log.info("handing unfinished replies back", count=len(leases))
            with contextlib.suppress(TimeoutError, BrokerUnavailable):
                await asyncio.wait_for(self._broker.release(leases), LAST_CALL)
