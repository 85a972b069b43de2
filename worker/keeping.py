"""How a reply ended is stored before its terminal is sent, so that whoever sees the terminal finds it in the history.

While the store is away the reply's lease is renewed and its pieces flow; only the terminal waits. If it waits too long
it becomes an error, which nobody stores here.
"""

import asyncio
from functools import partial
from typing import Protocol

import structlog

from shared.answer import then
from shared.clock import Clock
from shared.errors import ChatError
from shared.messages import Flush
from shared.store import Store
from worker.run import Run

LONGEST = 30.0  # seconds that a terminal waits for the store
AGAIN = 0.5  # seconds between two tries
NOT_STORED = "The reply could not be stored."

log = structlog.get_logger("keeping")


class Owner(Protocol):
    """Who sends the flushes."""

    def cleared(self, run: Run, flush: Flush | None) -> None:
        """The run may be taken from again; `flush` is to be sent first."""
        ...


class Keeper:
    """Terminals on their way to the store."""

    def __init__(self, store: Store, clock: Clock, owner: Owner) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._held: dict[Run, Flush] = {}  # which wait here for the store's answer
        self._since: dict[Run, float] = {}  # clock seconds of the first try, of those that failed
        self._timers: dict[Run, asyncio.TimerHandle] = {}  # of their next one

    @property
    def busy(self) -> bool:
        """Whether something is on its way."""
        return bool(self._held or self._timers)

    def holds(self, run: Run) -> bool:
        """Whether a flush of the run waits here: nothing else may be taken from it."""
        return run in self._held

    def hold(self, run: Run, flush: Flush) -> None:
        """Store how the run ended; the owner is told when its terminal, which is `flush`, may be sent."""
        self._held[run] = flush
        answer = run.answer(flush, self._clock.wall_ms())
        then(self._store.answer(answer), partial(self._stored, run), partial(self._not_stored, run))

    def close(self) -> None:
        """Store nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._held.clear()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _stored(self, run: Run, _: None) -> None:
        flush = self._held.pop(run, None)
        if flush is not None:  # else we are closed
            self._since.pop(run, None)
            self._owner.cleared(run, None if run.over else flush)

    def _not_stored(self, run: Run, _: ChatError) -> None:
        """The pieces go without the terminal, which is tried again."""
        if self._held.pop(run, None) is None:
            return
        if run.over:
            self._since.pop(run, None)
            self._owner.cleared(run, None)
            return
        now = self._clock.now()
        if now - self._since.setdefault(run, now) < LONGEST:
            run.hold_back()
            self._timers[run] = asyncio.get_running_loop().call_later(AGAIN, self._again, run)
        else:
            log.error("a reply could not be stored", message_id=run.lease.id)
            del self._since[run]
            run.give_up(ChatError(NOT_STORED))
        self._owner.cleared(run, None)

    def _again(self, run: Run) -> None:
        del self._timers[run]
        if run.over:
            self._since.pop(run, None)
        else:
            run.go_on()
        self._owner.cleared(run, None)
