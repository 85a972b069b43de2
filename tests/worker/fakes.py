"""A broker whose answers the test gives, an engine whose pieces the test gives."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from shared.errors import BrokerUnavailable
from shared.messages import Cancelled, Flush, Lease, Polled, Refusal, Stats, Tally
from shared.request import GenerationRequest, Turn, encode_request
from worker.engines.base import Job, Sink
from worker.run import Run

REQUEST = GenerationRequest((Turn("user", "Hello"),))


def lease(number: int = 1, **fields: Any) -> Lease:
    """A lease of a first attempt, unless `fields` say otherwise."""
    defaults: dict[str, Any] = {
        "session": f"s_{number}",
        "generation": 7,
        "attempt": 1,
        "nonce": "00c0ffee",
        "id": f"m{number}",
        "request": encode_request(REQUEST),
        "text": "",
        "tally": Tally(),
        "visible": False,
        "waited_ms": 40,
        "queue_ms": 30,
    }
    return Lease(number, **(defaults | fields))


async def turns(count: int = 12) -> None:
    """Let the event loop do what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


class HandEngine:
    """Gives what the test gives through `sinks`."""

    model = "hand"
    contextual = False
    blocks = False
    slots = 4
    first_piece_limit = math.inf
    next_piece_limit = math.inf

    def __init__(self, *, continues: bool = False, at_once: Sequence[str] = ()) -> None:
        self.continues = continues
        self.at_once = at_once
        self.jobs: list[Job] = []
        self.sinks: list[Sink] = []
        self.aborted: list[int] = []  # places in `sinks`
        self.on_start: Callable[[], None] = lambda: None

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """See Engine."""
        place = len(self.sinks)
        self.jobs.append(job)
        self.sinks.append(sink)
        self.on_start()
        for text in self.at_once:
            sink.piece(text)
        return lambda: self.aborted.append(place)

    async def close(self) -> None:
        """See Engine."""


class Poll(NamedTuple):
    """The arguments of one."""

    seen: int
    held: Sequence[int] | None
    free_slots: int
    alone: bool


class HandBroker:
    """The worker's side of a broker. Appends wait in `waiting` for `store`, `refuse` or `lose`, unless `easy`."""

    def __init__(self, *, easy: bool = True) -> None:
        self.easy = easy
        self.polls: list[Poll] = []
        self.appends: list[list[Flush]] = []
        self.waiting: asyncio.Future[list[Refusal]] | None = None
        self.released: list[int] = []
        self.closed = False
        self._number = 0
        self._answers: asyncio.Queue[Polled] = asyncio.Queue()

    # --- what the test does ------------------------------------------------------------------------------------------

    def tell(
        self,
        leases: Sequence[Lease] = (),
        cancelled: Sequence[Cancelled] = (),
        lost: Sequence[int] = (),
        epoch: str = "e1",
    ) -> None:
        """Answer a poll."""
        self._number += 1
        self._answers.put_nowait(Polled(epoch, self._number, list(leases), list(cancelled), list(lost)))

    def store(self) -> None:
        """Answer the append: stored."""
        self.refuse()

    def refuse(self, *refusals: Refusal) -> None:
        """Answer the append: stored, but for these."""
        assert self.waiting is not None
        self.waiting.set_result(list(refusals))

    def lose(self, error: Exception | None = None) -> None:
        """The append fails; whether it was stored is unknown."""
        assert self.waiting is not None
        self.waiting.set_exception(error or BrokerUnavailable())

    @property
    def flushes(self) -> list[Flush]:
        """All that were appended, in order."""
        return [flush for flushes in self.appends for flush in flushes]

    # --- WorkerBroker ------------------------------------------------------------------------------------------------

    async def poll(self, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool = False) -> Polled:
        """See WorkerBroker."""
        self.polls.append(Poll(seen, held, free_slots, alone))
        return await self._answers.get()

    def append(self, flushes: Sequence[Flush]) -> "asyncio.Future[list[Refusal]]":
        """See WorkerBroker."""
        assert self.waiting is None or self.waiting.done(), "more than one append at a time"
        self.appends.append(list(flushes))
        self.waiting = asyncio.get_running_loop().create_future()
        if self.easy:
            self.waiting.set_result([])
        return self.waiting

    def release(self, leases: Sequence[int]) -> "asyncio.Future[None]":
        """See WorkerBroker."""
        self.released += leases
        return _done(None)

    def renew(self, leases: Sequence[int]) -> "asyncio.Future[None]":
        """See WorkerBroker."""
        return _done(None)

    def bury(self, worker: str) -> "asyncio.Future[int]":
        """See WorkerBroker."""
        return _done(0)

    def stats(self) -> "asyncio.Future[Stats]":
        """See WorkerBroker."""
        return _done(Stats("e1", 0, 0, 0, 0, 0, 0, 0))

    async def close(self) -> None:
        """See WorkerBroker."""
        self.closed = True


class Outlet:
    """Notes who offered itself."""

    def __init__(self) -> None:
        self.offered: list[tuple[Run, bool]] = []

    def offer(self, run: Run, urgent: bool) -> None:
        """See worker.run.Outlet."""
        self.offered.append((run, urgent))


class Watch:
    """Notes what the runner tells its supervisor."""

    def __init__(self) -> None:
        self.appends = 0
        self.told: list[tuple[dict[int, float], bool]] = []

    def appended(self) -> None:
        """See worker.runner.Watch."""
        self.appends += 1

    def holding(self, allowed: Sequence[tuple[int, float]], renewed: bool) -> None:
        """See worker.runner.Watch."""
        self.told.append((dict(allowed), renewed))


def _done(result: Any) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
