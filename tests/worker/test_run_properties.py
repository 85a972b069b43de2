"""Whatever happens on the way, the broker holds what the terminal says: runs against the real state machine."""

from hypothesis import given
from hypothesis import strategies as st

from shared.brokers.state import BrokerState, Limits
from shared.messages import (
    Delta,
    Done,
    Event,
    Flush,
    Item,
    Started,
    Submission,
    Tally,
    decode_events,
    text_of,
    text_sha256,
)
from shared.request import encode_request
from tests.conftest import FakeClock
from tests.worker.fakes import REQUEST, HandEngine, Outlet
from worker.run import Run

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("piece"), st.text(max_size=4)),
        st.tuples(st.just("flush"), st.sampled_from(["answered", "lost before", "lost after"])),
        st.tuples(st.just("cancel"), st.sampled_from(["told", "not told"])),
        st.just(("finish", "")),
        st.just(("die", "")),
    ),
    max_size=40,
)


class World:
    """One generation, one worker at a time, and the broker's real logic."""

    def __init__(self, continues: bool) -> None:
        self.clock = FakeClock()
        self.state = BrokerState(self.clock, Limits(max_attempts=1000, fruitless_attempts=1000))
        self.state.open("s", "owner", None, None)
        self.state.submit(Submission("s", "m", 0, encode_request(REQUEST)))
        self.continues = continues
        self.workers = 0
        self.tallies: dict[tuple[int, int], Tally] = {}  # of what was stored, by attempt and seq
        self.claim()

    def claim(self) -> None:
        """The next worker takes the generation."""
        self.workers += 1
        name = f"w{self.workers}"
        polled = self.state.polled(name, self.state.poll(name, 0, None, 1, False), final=True)
        assert polled is not None
        self.run = Run(polled.leases[0], HandEngine(continues=self.continues), Outlet(), self.clock)
        self.run.begin()
        self.pushed: list[str] = []
        self.finished = False
        self.unsure: Flush | None = None

    def piece(self, text: str) -> None:
        """Of the engine. Noted where it is to be seen, should nothing come between."""
        self.run.piece(text)
        if text and not self.finished:
            self.pushed.append(text)

    def flush(self, how: str) -> None:
        """An append that arrives or not, and whose answer does or not; unsure ones are repeated as they were."""
        flush = self.unsure or self.run.take()
        if flush is None:
            return
        self.unsure = None if how == "answered" else flush
        if how == "lost before":
            return
        refusals = self.state.append([flush])
        if not refusals:
            self.tallies[self.run.lease.attempt, flush.first] = flush.tally
        if how == "lost after":
            return
        if refusals:
            self.run.refused(refusals[0])
        else:
            self.run.stored()

    def cancel(self, how: str) -> None:
        """By the user. The worker may learn of it only by its next append."""
        self.state.cancel("s", "m")
        if how == "told":
            self.run.cancel(0)

    def finish(self, _: str) -> None:
        """The engine is done."""
        self.run.finish("stop")
        self.finished = True

    def die(self, _: str) -> None:
        """The worker's process is killed, unsure append and all."""
        if self.state.stats().running:
            self.state.bury(f"w{self.workers}")
            if self.state.stats().queued:
                self.claim()

    @property
    def items(self) -> list[Item]:
        """All that the broker holds."""
        return self.state.read("s", None, 1 << 30).items


def play(steps: list[tuple[str, str]], continues: bool) -> World:
    world = World(continues)
    for step, argument in steps:
        world.clock.advance(0.01)
        getattr(world, step)(argument)
    world.finish("")
    for _ in range(3):  # what is unsure, what waits behind it, and a cancel's answer
        world.flush("answered")
    return world


def check_order(items: list[Item]) -> None:
    """Every attempt counts from 0 without a hole, attempts go up."""
    expected = (0, 0)
    for item in items:
        if item.attempt != expected[0]:
            assert item.attempt > expected[0]
            expected = (item.attempt, 0)
        assert item.first == expected[1]
        assert item.count == len(decode_events(item.events))
        expected = (item.attempt, item.first + item.count)


def deltas(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Delta)]


@given(STEPS, st.booleans())
def test_the_terminal_is_true_and_alone(steps: list[tuple[str, str]], continues: bool) -> None:
    world = play(steps, continues)
    items = world.items
    check_order(items)
    assert [item.terminal for item in items] == [False] * (len(items) - 1) + [True]
    events = [event for item in items for event in decode_events(item.events)]
    done = events[-1]
    assert isinstance(done, Done)
    assert done.text_sha256 == text_sha256(text_of(items))
    assert len(events) == 1 or isinstance(events[0], Started)
    assert world.state.stats().running == 0


@given(STEPS, st.booleans())
def test_each_piece_is_one_delta_and_none_is_lost_or_moved(steps: list[tuple[str, str]], continues: bool) -> None:
    world = play(steps, continues)
    last = [event for item in world.items if item.attempt == world.workers for event in decode_events(item.events)]
    seen = deltas(last)
    assert seen == world.pushed[: len(seen)]
    if last and isinstance(last[-1], Done) and last[-1].finish_reason == "stop":
        assert seen == world.pushed


@given(STEPS, st.booleans())
def test_the_tally_counts_what_stands(steps: list[tuple[str, str]], continues: bool) -> None:
    world = play(steps, continues)
    stands = 0
    for item in world.items:
        events = decode_events(item.events)
        stands = (0 if item.flags & 2 else stands) + len(deltas(events))
        tally = world.tallies.get((item.attempt, item.first))
        if tally is not None:
            assert tally.pieces == stands
        else:  # a terminal of the broker's own
            (done,) = events
            assert isinstance(done, Done)
            assert done.receipt is not None
            assert done.receipt.delivered == stands
