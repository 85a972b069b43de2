"""The way to the broker: grouped, one append at a time, repeated as it is."""

import asyncio

import pytest

from shared.broker import WorkerBroker
from shared.errors import InvalidMessage
from shared.messages import Delta, Flush, Refusal, Started, decode_events
from tests.conftest import FakeClock
from tests.worker.fakes import HandBroker, HandEngine, lease, turns
from worker import flusher as module
from worker.flusher import Flusher
from worker.run import Run


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.appends = 0
        self.over: list[Run] = []
        self.errors: list[BaseException] = []

    def appended(self) -> None:
        self.appends += 1

    def settled(self, run: Run) -> None:
        self.over.append(run)

    def broken(self, error: BaseException) -> None:
        self.errors.append(error)


class Scene:
    """A flusher before a broker that answers by hand, and runs that have begun."""

    def __init__(self, clock: FakeClock, runs: int) -> None:
        self.broker = HandBroker(easy=False)
        self.owner = Owner()
        self.clock = clock
        typed: WorkerBroker = self.broker
        self.flusher = Flusher(typed, clock, self.owner)
        self.runs = [Run(lease(number), HandEngine(), self.flusher, clock) for number in range(1, runs + 1)]

    async def started(self) -> "Scene":
        """All have their `started` stored."""
        for run in self.runs:
            run.begin()
        await turns()
        self.broker.store()
        await turns()
        self.broker.appends.clear()
        return self


def texts(broker: HandBroker) -> list[list[tuple[int, list[str]]]]:
    """Append by append and flush by flush, the lease and the pieces."""
    return [[(flush.lease, pieces(flush)) for flush in flushes] for flushes in broker.appends]


def pieces(flush: Flush) -> list[str]:
    return [event.text for event in decode_events(flush.events) if isinstance(event, Delta)]


async def test_what_comes_in_one_turn_of_the_loop_goes_in_one_append(clock: FakeClock) -> None:
    scene = Scene(clock, 2)
    for run in scene.runs:
        run.begin()
    assert scene.broker.appends == []
    await turns()
    assert [decode_events(flush.events) for flush in scene.broker.flushes] == [[Started("hand")]] * 2
    assert len(scene.broker.appends) == 1


async def test_while_one_append_is_on_its_way_pieces_gather_by_run(clock: FakeClock) -> None:
    scene = await Scene(clock, 2).started()
    one, two = scene.runs
    one.piece("a")
    await turns()
    two.piece("x")
    for text in ("b", "c"):
        one.piece(text)
        await turns()
    assert texts(scene.broker) == [[(1, ["a"])]]
    scene.broker.store()
    await turns()
    assert texts(scene.broker)[1:] == [[(2, ["x"]), (1, ["b", "c"])]]
    assert [flush.first for flush in scene.broker.appends[1]] == [1, 2]


async def test_a_failed_append_is_repeated_as_it_was_when_the_link_is_back(clock: FakeClock) -> None:
    scene = await Scene(clock, 2).started()
    for run in scene.runs:
        run.piece("a")
    await turns()
    scene.broker.lose()
    await turns()
    scene.runs[0].piece("b")
    await turns()
    assert len(scene.broker.appends) == 1
    scene.flusher.linked()
    assert scene.broker.appends[1] == scene.broker.appends[0]
    scene.broker.store()
    await turns()
    assert texts(scene.broker)[2:] == [[(1, ["b"])]]


async def test_it_is_repeated_by_itself_too(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    scene = await Scene(clock, 1).started()
    scene.runs[0].piece("a")
    await turns()
    scene.broker.lose()
    await turns()
    while len(scene.broker.appends) < 2:
        await turns(1)
    assert scene.broker.appends[1] == scene.broker.appends[0]


async def test_a_link_that_is_there_repeats_nothing(clock: FakeClock) -> None:
    scene = await Scene(clock, 1).started()
    scene.flusher.linked()
    scene.runs[0].piece("a")
    scene.flusher.linked()
    await turns()
    scene.flusher.linked()
    assert len(scene.broker.appends) == 1


async def test_what_nobody_wants_any_more_is_not_repeated(clock: FakeClock) -> None:
    scene = await Scene(clock, 2).started()
    for run in scene.runs:
        run.piece("a")
    await turns()
    scene.runs[0].abort()
    scene.broker.lose()
    await turns()
    scene.flusher.linked()
    assert texts(scene.broker)[1] == [(2, ["a"])]


async def test_refusals_find_their_runs(clock: FakeClock) -> None:
    scene = await Scene(clock, 3).started()
    for run in scene.runs:
        run.piece("a")
    await turns()
    scene.broker.refuse(Refusal(0, "fenced"), Refusal(2, "cancelled", 3))
    await turns()
    assert scene.owner.over == [scene.runs[0]]
    assert [(flush.lease, flush.terminal) for flush in scene.broker.appends[1]] == [(3, True)]
    scene.broker.store()
    await turns()
    assert scene.owner.over == [scene.runs[0], scene.runs[2]]


async def test_only_what_was_stored_counts_as_an_achievement(clock: FakeClock) -> None:
    scene = Scene(clock, 1)
    scene.runs[0].begin()
    await turns()
    scene.broker.refuse(Refusal(0, "fenced"))
    await turns()
    assert scene.owner.appends == 0
    assert (await Scene(clock, 1).started()).owner.appends == 1


async def test_one_append_takes_only_so_much(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    scene = await Scene(clock, 3).started()
    for run in scene.runs:
        run.piece("x" * 60)
    await turns()
    scene.broker.store()
    await turns()
    assert [[flush.lease for flush in flushes] for flushes in scene.broker.appends] == [[1, 2], [3]]


async def test_an_error_that_repeating_cannot_mend_is_told(clock: FakeClock) -> None:
    scene = await Scene(clock, 1).started()
    scene.runs[0].piece("a")
    await turns()
    error = InvalidMessage()
    scene.broker.lose(error)
    await turns()
    assert scene.owner.errors == [error]
    assert len(scene.broker.appends) == 1


async def test_dear_flushes_make_the_next_one_wait_and_gather(clock: FakeClock) -> None:
    scene = await Scene(clock, 1).started()
    for _ in range(10):
        scene.runs[0].piece("a")
        while not scene.broker.appends:
            await turns(1)
        clock.advance(0.001)
        scene.broker.store()
        await turns()
        scene.broker.appends.clear()
    for text in ("b", "c"):
        scene.runs[0].piece(text)
        await turns()
    assert scene.broker.appends == []
    while not scene.broker.appends:
        await turns(1)
    assert texts(scene.broker) == [[(1, ["b", "c"])]]


async def test_rest_comes_when_all_is_stored(clock: FakeClock) -> None:
    scene = await Scene(clock, 1).started()
    await scene.flusher.rest()
    scene.runs[0].piece("a")
    resting = asyncio.ensure_future(scene.flusher.rest())
    await turns()
    assert not resting.done()
    scene.broker.store()
    await turns()
    assert resting.done()


async def test_an_error_of_our_own_is_told_too(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Run) -> None:
        raise ZeroDivisionError

    scene = await Scene(clock, 1).started()
    monkeypatch.setattr(Run, "take", fail)
    scene.runs[0].piece("a")
    await turns()
    assert [type(error) for error in scene.owner.errors] == [ZeroDivisionError]


async def test_after_closing_nothing_is_sent(clock: FakeClock) -> None:
    scene = await Scene(clock, 1).started()
    scene.runs[0].piece("a")
    scene.flusher.close()
    scene.runs[0].piece("b")
    await turns()
    assert scene.broker.appends == []


async def test_not_even_when_an_answer_comes_after_closing(clock: FakeClock) -> None:
    scene = await Scene(clock, 1).started()
    scene.runs[0].piece("a")
    await turns()
    scene.runs[0].piece("b")
    scene.flusher.close()
    scene.broker.store()
    scene.flusher.linked()
    await turns()
    assert texts(scene.broker) == [[(1, ["a"])]]
