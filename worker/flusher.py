"""The way from the runs to the broker: one append at a time, grouped, repeated as it is until its fate is known."""

import asyncio
from typing import Protocol

import structlog

from shared.broker import WorkerBroker
from shared.clock import Clock
from shared.errors import BrokerUnavailable
from shared.messages import TERMINAL, Flush, Refusal
from shared.store import Store
from worker.batching import Pacer
from worker.keeping import Keeper
from worker.run import Run

MOST_BYTES = 1 << 20  # of events in one append; the rest goes with the next
NEAR = 0.001  # seconds: uvloop's timers count milliseconds, less than one is not worth a timer
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds before an append is repeated

log = structlog.get_logger("flusher")


class Owner(Protocol):
    """Who is told what comes of it."""

    def appended(self) -> None:
        """The broker has stored something."""
        ...

    def settled(self, run: Run) -> None:
        """A run is over by what the broker answered."""
        ...

    def broken(self, error: BaseException) -> None:
        """An append failed in a way that repeating cannot mend: nothing is sent any more."""
        ...


class Flusher:
    """Runs offer themselves; one timer for all of them decides when they are emptied."""

    def __init__(self, broker: WorkerBroker, clock: Clock, owner: Owner, store: Store | None = None) -> None:
        self._broker = broker
        self._keeper = None if store is None else Keeper(store, clock, self)
        self._cleared: list[tuple[Run, Flush]] = []  # whose ends are stored
        self._late: dict[Run, None] = {}  # offered while their end was being stored
        self._clock = clock
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._pacer = Pacer(least=getattr(broker, "spacing", 0.0))
        self._offered: list[Run] = []
        self._flying: list[Run] = []  # whose flushes are on their way, place by place
        self._flushes: list[Flush] = []
        self._pause = FIRST_PAUSE
        self._timer: asyncio.Handle | None = None  # of the next flush, or of a repetition
        self._armed = False  # a timer is set or an answer is awaited
        self._urgent = False
        self._closed = False
        self._rested: asyncio.Event | None = None

    def offer(self, run: Run, urgent: bool) -> None:
        """See worker.run.Outlet."""
        self._offered.append(run)
        if not self._armed:
            self._urgent = urgent
            self._arm()
        elif urgent and not self._urgent:
            self._urgent = True
            if not self._flushes:
                self._arm()

    def cleared(self, run: Run, flush: Flush | None) -> None:
        """See worker.keeping.Owner."""
        if self._closed:
            return
        if flush is not None:
            self._cleared.append((run, flush))
        if run in self._late:
            del self._late[run]
            self._offered.append(run)
        if not self._armed:
            self._arm()

    def linked(self) -> None:
        """The broker has answered something: if an append is to be repeated, now is the time."""
        if self._flushes and self._timer is not None:
            self._timer.cancel()
            self._send()

    async def rest(self) -> None:
        """Return when nothing is offered or on its way."""
        self._rested = asyncio.Event()
        while self._armed or (self._keeper is not None and self._keeper.busy):
            self._rested.clear()
            await self._rested.wait()

    def close(self) -> None:
        """Send nothing more."""
        self._closed = self._armed = True
        if self._keeper is not None:
            self._keeper.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- sending -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Nothing is on its way: set the time of the next flush."""
        self._armed = True
        if self._timer is not None:
            self._timer.cancel()
        wait = self._pacer.wait(self._clock.now(), urgent=self._urgent)
        if wait < NEAR:
            self._timer = self._loop.call_soon(self._flush)
        else:
            self._timer = self._loop.call_later(wait, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._pacer.began(self._clock.now())
        try:
            self._collect()
        except Exception as error:  # better a new process than one that sends nothing any more
            self._owner.broken(error)
            return
        if self._flushes:
            self._send()
        else:
            self._next()

    def _collect(self) -> None:
        """Empty the runs that were offered, in their order, as far as one append may go."""
        offered, self._offered, self._urgent = self._offered, [], False
        flying, flushes, size = self._flying, self._flushes, 0
        cleared, self._cleared = dict(self._cleared), []
        for run, ready in cleared.items():
            flying.append(run)
            flushes.append(ready)
            size += len(ready.events)
        keeper = self._keeper
        for run in offered:
            if size > MOST_BYTES or run in cleared:  # of a run one flush at a time
                self._offered.append(run)
                continue
            if keeper is not None and keeper.holds(run):
                self._late[run] = None
                continue
            flush = run.take()
            if flush is None:
                continue
            if keeper is not None and run.kept and flush.flags & TERMINAL:
                keeper.hold(run, flush)
            else:
                flying.append(run)
                flushes.append(flush)
                size += len(flush.events)

    def _send(self) -> None:
        self._timer = None
        self._broker.append(self._flushes).add_done_callback(self._answered)

    def _answered(self, answer: "asyncio.Future[list[Refusal]]") -> None:
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if self._closed:
            return
        if error is None:
            self._pacer.answered(self._clock.now())
            self._pause = FIRST_PAUSE
            self._tell(answer.result())
            self._next()
        elif isinstance(error, BrokerUnavailable):
            self._repeat()
        else:
            self._owner.broken(error)

    def _repeat(self) -> None:
        """Whether the flushes were stored is unknown: the same again, but for runs that are of no interest any more."""
        kept = [(run, flush) for run, flush in zip(self._flying, self._flushes, strict=True) if not run.over]
        self._flying, self._flushes = [run for run, _ in kept], [flush for _, flush in kept]
        if not kept:
            self._next()
            return
        log.debug("an append is to be repeated", flushes=len(kept), pause=self._pause)
        self._timer = self._loop.call_later(self._pause, self._send)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _tell(self, refusals: list[Refusal]) -> None:
        """Each run learns what came of its flush."""
        runs, self._flying, self._flushes = self._flying, [], []
        refused = {refusal.place: refusal for refusal in refusals}
        for place, run in enumerate(runs):
            if place in refused:
                run.refused(refused[place])
            else:
                run.stored()
            if run.over:
                self._owner.settled(run)
        if len(refused) < len(runs):
            self._owner.appended()

    def _next(self) -> None:
        if self._offered or self._cleared:
            self._arm()
        else:
            self._armed = False
            if self._rested is not None:
                self._rested.set()
