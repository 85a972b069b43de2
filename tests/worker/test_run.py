"""One attempt: what becomes of an engine's output, of a cancel, of a refusal."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.errors import EngineUnavailable, PromptTooLong
from shared.messages import (
    Delta,
    Done,
    Event,
    Failed,
    Flag,
    Flush,
    Receipt,
    Refusal,
    Started,
    Takeover,
    Tally,
    Timing,
    Usage,
    decode_events,
    text_sha256,
)
from shared.request import GenerationRequest, Turn, encode_request
from tests.conftest import FakeClock
from tests.worker.fakes import REQUEST, HandEngine, Outlet, lease
from worker.engines.base import Job, Sink
from worker.run import MOST_CHARACTERS, MOST_PIECES, Run

FENCED = Refusal(0, "fenced")


@dataclass
class Scene:
    """A run that has begun, its engine, and the time."""

    run: Run
    engine: HandEngine
    outlet: Outlet
    clock: FakeClock

    @property
    def sink(self) -> Sink:
        return self.run

    def flush(self) -> list[Event]:
        """Take what waits and store it."""
        flush = self.run.take()
        assert flush is not None
        self.run.stored()
        return decode_events(flush.events)


def begin(clock: FakeClock, engine: HandEngine | None = None, **fields: Any) -> Scene:
    engine, outlet = engine or HandEngine(), Outlet()
    run = Run(lease(**fields), engine, outlet, clock)
    run.begin()
    return Scene(run, engine, outlet, clock)


def taken(run: Run) -> Flush:
    flush = run.take()
    assert flush is not None
    return flush


# --- an ordinary reply ----------------------------------------------------------------------------------------------


def test_started_waits_for_no_piece(clock: FakeClock) -> None:
    scene = begin(clock, number=9)
    assert scene.outlet.offered == [(scene.run, True)]
    flush = taken(scene.run)
    assert decode_events(flush.events) == [Started("hand")]
    assert (flush.first, flush.count, flush.flags) == (0, 1, Flag.STARTED)
    assert flush.lease == 9


def test_a_piece_that_the_engine_has_at_once_goes_with_started(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(at_once=["Hi"]))
    assert scene.flush() == [Started("hand"), Delta("Hi")]


def test_started_names_the_model_that_was_asked_for(clock: FakeClock) -> None:
    request = GenerationRequest((Turn("user", "Hello"),), model="big")
    assert begin(clock, request=encode_request(request)).flush() == [Started("big")]


def test_a_flush_groups_pieces_and_never_merges_them(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.flush()
    for text in ("a", "", "b", "c"):
        scene.sink.piece(text)
    assert scene.outlet.offered == [(scene.run, True)] * 2
    flush = taken(scene.run)
    assert decode_events(flush.events) == [Delta("a"), Delta("b"), Delta("c")]
    assert (flush.first, flush.count, flush.flags, flush.tally.pieces) == (1, 3, 0, 3)


def test_only_the_first_piece_is_urgent(clock: FakeClock) -> None:
    scene = begin(clock)
    for text in ("a", "b"):
        scene.flush()
        scene.sink.piece(text)
    assert [urgent for _, urgent in scene.outlet.offered] == [True, True, False]


def test_nothing_is_taken_twice(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.flush()
    assert scene.run.take() is None


def test_the_end_goes_with_the_last_pieces_and_fits_the_text(clock: FakeClock) -> None:
    scene = begin(clock)
    clock.advance(0.1)
    scene.sink.piece("Hel")
    scene.flush()
    clock.advance(0.2)
    scene.sink.piece("lo", tokens=3)
    scene.sink.finish("length")
    clock.advance(9)
    flush = taken(scene.run)
    assert flush.flags == Flag.TERMINAL
    assert flush.tally == Tally(2, 4, 2, 140)
    done = Done("length", Usage(2, 4, True), Timing(30, 140, 340), text_sha256("Hello"))
    assert decode_events(flush.events) == [Delta("lo"), done]
    assert not scene.run.over
    scene.run.stored()
    assert scene.run.over


def test_what_the_engine_counted_goes_before_the_estimate(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.sink.piece("Hello")
    scene.sink.finish("stop", Usage(11, 12, False))
    done = scene.flush()[-1]
    assert isinstance(done, Done)
    assert done.usage == Usage(11, 12, False)


def test_after_the_end_nothing_of_the_engine_counts(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.sink.finish("stop")
    scene.sink.piece("late")
    scene.sink.fail(EngineUnavailable())
    scene.sink.finish("length")
    assert [type(event) for event in scene.flush()] == [Started, Done]


def test_a_failure_keeps_its_code(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.sink.piece("Hel")
    scene.sink.fail(PromptTooLong("Too \ud800 long."))
    flush = taken(scene.run)
    failed = Failed("prompt_too_long", "Too \ufffd long.", False)
    assert decode_events(flush.events) == [Started("hand"), Delta("Hel"), failed]
    assert flush.terminal


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError(), "engine_error"), (EngineUnavailable(), "engine_unavailable")]
)
def test_an_engine_that_cannot_start_fails_its_reply(clock: FakeClock, error: Exception, code: str) -> None:
    def raise_it() -> None:
        raise error

    engine = HandEngine()
    engine.on_start = raise_it
    started, failed = begin(clock, engine).flush()
    assert isinstance(started, Started)
    assert isinstance(failed, Failed)
    assert failed.code == code


def test_a_request_that_cannot_be_read_fails_its_reply(clock: FakeClock) -> None:
    assert [type(event) for event in begin(clock, request=b"\xc1").flush()] == [Started, Failed]


def test_half_a_character_is_replaced(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.sink.piece("fine")
    scene.flush()
    scene.sink.piece("a\ud800b")
    scene.sink.finish("stop")
    delta, done = scene.flush()
    assert delta == Delta("a\ufffdb")
    assert isinstance(done, Done)
    assert done.text_sha256 == text_sha256("finea\ufffdb")


def test_bytes_are_no_text(clock: FakeClock) -> None:
    with pytest.raises(TypeError):
        begin(clock).sink.piece(b"bytes")  # type: ignore[arg-type]


# --- taking over ------------------------------------------------------------------------------------------------------

STOOD = {"attempt": 2, "visible": True, "text": "Hel", "tally": Tally(2, 2, 5, 70), "waited_ms": 900}


def test_an_engine_that_continues_goes_on_exactly(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(continues=True, at_once=["lo"]), **STOOD)
    assert scene.engine.jobs[0] == Job(REQUEST, "Hel", 2, 2, "s_1", "m1")
    scene.sink.finish("stop", Usage(99, 1, False))
    flush = taken(scene.run)
    done = Done("stop", Usage(5, 3, True), Timing(30, 70, 900), text_sha256("Hello"))
    assert decode_events(flush.events) == [Takeover(True), Delta("lo"), done]
    assert (flush.first, flush.flags, flush.tally) == (0, Flag.TERMINAL, Tally(3, 3, 5, 70))


def test_any_other_engine_starts_again(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(at_once=["Bye"]), **STOOD)
    assert scene.engine.jobs[0] == Job(REQUEST, session="s_1", id="m1")
    scene.sink.finish("stop")
    flush = taken(scene.run)
    done = Done("stop", Usage(5, 1, True), Timing(30, 70, 900), text_sha256("Bye"))
    assert decode_events(flush.events) == [Takeover(False), Delta("Bye"), done]
    assert (flush.flags, flush.tally) == (Flag.RESTART | Flag.TERMINAL, Tally(1, 1, 5, 70))


def test_an_engine_that_cannot_go_on_with_this_one_starts_again(clock: FakeClock) -> None:
    engine = HandEngine(continues=True, at_once=["Bye"])
    engine.on_start = lambda: engine.sinks[0].restart()
    scene = begin(clock, engine, **STOOD)
    assert scene.engine.jobs[0].text == "Hel"
    scene.sink.finish("stop", Usage(4, 1, False))
    flush = taken(scene.run)
    done = Done("stop", Usage(4, 1, False), Timing(30, 70, 900), text_sha256("Bye"))
    assert decode_events(flush.events) == [Takeover(False), Delta("Bye"), done]
    assert (flush.flags, flush.tally) == (Flag.RESTART | Flag.TERMINAL, Tally(1, 1, 5, 70))


@pytest.mark.parametrize("on_its_way", [True, False])
def test_an_engine_that_finds_out_later_takes_back_that_it_goes_on(clock: FakeClock, on_its_way: bool) -> None:
    scene = begin(clock, HandEngine(continues=True), **STOOD)
    flush = scene.run.take()
    assert flush is not None
    assert decode_events(flush.events) == [Takeover(True)]
    if not on_its_way:
        scene.run.stored()
    scene.sink.restart()
    if on_its_way:
        scene.run.stored()
    assert [urgent for _, urgent in scene.outlet.offered] == [True, True]
    scene.sink.piece("Bye")
    scene.sink.finish("stop")
    flush = taken(scene.run)
    done = Done("stop", Usage(5, 1, True), Timing(30, 70, 900), text_sha256("Bye"))
    assert decode_events(flush.events) == [Takeover(False), Delta("Bye"), done]
    assert (flush.first, flush.flags, flush.tally) == (1, Flag.RESTART | Flag.TERMINAL, Tally(1, 1, 5, 70))


def test_a_cancel_before_a_later_restart_is_stored_leaves_the_old_text(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(continues=True), **STOOD)
    scene.flush()
    scene.sink.restart()
    scene.sink.piece("Bye")
    scene.run.cancel(0)
    done = cancelled_done(scene.run)
    assert done.text_sha256 == text_sha256("Hel")
    assert (done.usage, done.receipt) == (Usage(5, 2, True), Receipt(3, 2, 0))


def test_a_restart_behind_a_piece_is_too_late(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(continues=True, at_once=["lo"]), **STOOD)
    scene.sink.restart()
    assert scene.flush() == [Takeover(True), Delta("lo")]


def test_a_restart_where_nothing_stands_changes_nothing(clock: FakeClock) -> None:
    engine = HandEngine(continues=True)
    engine.on_start = lambda: engine.sinks[0].restart()
    assert begin(clock, engine).flush() == [Started("hand")]


@pytest.mark.parametrize("continues", [True, False])
def test_where_no_text_stands_every_engine_is_exact(clock: FakeClock, continues: bool) -> None:
    scene = begin(clock, HandEngine(continues=continues), attempt=2, visible=True)
    flush = taken(scene.run)
    assert decode_events(flush.events) == [Takeover(True)]
    assert flush.flags == 0


def test_a_second_attempt_that_nobody_saw_begin_is_a_start(clock: FakeClock) -> None:
    assert begin(clock, attempt=2).flush() == [Started("hand")]


# --- cancelling -----------------------------------------------------------------------------------------------------


def cancelled_done(run: Run) -> Done:
    """The terminal that goes out alone."""
    flush = taken(run)
    assert (flush.count, flush.flags) == (1, Flag.TERMINAL)
    (done,) = decode_events(flush.events)
    assert isinstance(done, Done)
    assert done.finish_reason == "cancelled"
    run.stored()
    assert run.over
    return done


def test_a_cancel_stops_the_engine_and_drops_what_is_unsent(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.sink.piece("seen")
    scene.flush()
    scene.sink.piece("unsent")
    scene.sink.piece("too")
    clock.advance(0.5)
    scene.run.cancel(25)
    assert scene.engine.aborted == [0]
    scene.sink.piece("late")
    done = cancelled_done(scene.run)
    assert done.text_sha256 == text_sha256("seen")
    assert done.receipt == Receipt(3, 1, 25)
    assert done.usage == Usage(2, 1, True)
    assert done.timing == Timing(30, 40, 540)


def test_the_time_of_an_abort_counts(clock: FakeClock) -> None:
    class Slow(HandEngine):
        def start(self, job: Job, sink: Sink) -> Callable[[], None]:
            return lambda: clock.advance(0.2)

    scene = begin(clock, Slow())
    scene.run.cancel(25)
    assert cancelled_done(scene.run).receipt == Receipt(0, 0, 225)


def test_an_abort_that_fails_does_not_keep_the_reply_from_ending(clock: FakeClock) -> None:
    class Broken(HandEngine):
        def start(self, job: Job, sink: Sink) -> Callable[[], None]:
            def fail() -> None:
                raise ZeroDivisionError

            return fail

    scene = begin(clock, Broken())
    scene.run.cancel(0)
    cancelled_done(scene.run)


@pytest.mark.parametrize("outcome", ["stored", "cancelled"])
def test_a_cancel_while_pieces_are_on_their_way_waits_for_their_fate(clock: FakeClock, outcome: str) -> None:
    scene = begin(clock)
    scene.sink.piece("a")
    scene.flush()
    scene.sink.piece("b")
    taken(scene.run)
    scene.sink.piece("c")
    scene.run.cancel(10)
    if outcome == "stored":
        scene.run.stored()
    else:
        scene.run.refused(Refusal(0, "cancelled", 12))
    flush = taken(scene.run)
    stands = "ab" if outcome == "stored" else "a"
    assert flush.first == 1 + len(stands)
    (done,) = decode_events(flush.events)
    assert isinstance(done, Done)
    assert done.text_sha256 == text_sha256(stands)
    assert done.receipt == Receipt(3, len(stands), 10)


def test_a_run_may_learn_of_the_cancel_from_the_refusal(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(at_once=["a"]))
    taken(scene.run)
    scene.run.refused(Refusal(0, "cancelled", 300))
    assert scene.engine.aborted == [0]
    assert scene.outlet.offered[-1] == (scene.run, True)
    done = cancelled_done(scene.run)
    assert done.receipt == Receipt(1, 0, 300)
    assert done.text_sha256 == text_sha256("")


def test_the_own_end_wins_where_it_was_stored_first(clock: FakeClock) -> None:
    scene = begin(clock)
    scene.sink.finish("stop")
    taken(scene.run)
    scene.run.cancel(5)
    scene.run.stored()
    assert scene.run.over
    assert scene.run.take() is None


def test_the_cancel_wins_where_the_own_end_was_refused(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(at_once=["a"]))
    scene.sink.finish("stop")
    clock.advance(1)
    taken(scene.run)
    scene.run.refused(Refusal(0, "cancelled", 400))
    done = cancelled_done(scene.run)
    assert done.receipt == Receipt(1, 0, 0)  # the engine had stopped before the cancel
    assert scene.engine.aborted == []


@pytest.mark.parametrize("continues", [True, False])
def test_a_cancel_before_the_takeover_is_stored_leaves_the_old_text(clock: FakeClock, continues: bool) -> None:
    scene = begin(clock, HandEngine(continues=continues, at_once=["x"]), **STOOD)
    taken(scene.run)
    scene.run.refused(Refusal(0, "cancelled", 1))
    done = cancelled_done(scene.run)
    assert done.text_sha256 == text_sha256("Hel")
    assert done.receipt == Receipt(3, 2, 1)


def test_a_cancel_after_the_takeover_is_over_the_new_text(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(at_once=["x"]), **STOOD)
    scene.flush()
    scene.run.cancel(1)
    done = cancelled_done(scene.run)
    assert done.text_sha256 == text_sha256("x")
    assert done.receipt == Receipt(3, 1, 1)


# --- losing, halting, waiting ---------------------------------------------------------------------------------------


def test_a_fenced_run_is_silent(clock: FakeClock) -> None:
    scene = begin(clock)
    taken(scene.run)
    scene.sink.piece("more")
    scene.run.refused(FENCED)
    assert scene.engine.aborted == [0]
    assert scene.run.over
    assert scene.run.take() is None


def test_a_halted_run_still_sends_what_it_has(clock: FakeClock) -> None:
    scene = begin(clock, HandEngine(at_once=["a"]))
    scene.run.halt()
    scene.sink.piece("b")
    assert scene.engine.aborted == [0]
    assert scene.flush() == [Started("hand"), Delta("a")]
    assert not scene.run.over


@pytest.mark.parametrize(("text", "times"), [("x", MOST_PIECES), ("x" * 1024, MOST_CHARACTERS // 1024)])
def test_a_run_that_is_not_emptied_is_congested(clock: FakeClock, text: str, times: int) -> None:
    scene = begin(clock)
    for _ in range(times - 1):
        scene.sink.piece(text)
    assert not scene.sink.congested
    scene.sink.piece(text)
    assert scene.sink.congested
    taken(scene.run)
    assert scene.sink.congested
    scene.run.stored()
    assert not scene.sink.congested


@pytest.mark.parametrize("how", ["stored", "aborted", "cancelled"])
async def test_relief_comes_when_the_sink_is_emptied_or_wants_nothing(clock: FakeClock, how: str) -> None:
    scene = begin(clock)
    for _ in range(MOST_PIECES):
        scene.sink.piece("x")
    relief = asyncio.ensure_future(scene.sink.relief())
    await asyncio.sleep(0)
    assert not relief.done()
    taken(scene.run)
    acts: dict[str, Callable[[], None]] = {
        "stored": scene.run.stored,
        "aborted": scene.run.abort,
        "cancelled": lambda: scene.run.cancel(0),
    }
    acts[how]()
    await asyncio.wait_for(relief, 1)


def test_patience_counts_only_while_the_engine_owes_something(clock: FakeClock) -> None:
    engine = HandEngine()
    engine.first_piece_limit, engine.next_piece_limit = 10.0, 3.0
    scene = begin(clock, engine)
    scene.flush()
    clock.advance(4)
    assert scene.run.patience(clock.now()) == 6
    scene.sink.piece("a")
    assert scene.run.patience(clock.now()) == 3
    clock.advance(2)  # the piece is not stored yet: that is not the engine's fault
    assert scene.run.patience(clock.now()) == 3
    scene.flush()
    clock.advance(2)
    assert scene.run.patience(clock.now()) == 1
    clock.advance(2)
    assert scene.run.patience(clock.now()) < 0
    scene.sink.finish("stop")
    assert scene.run.patience(clock.now()) > 0
