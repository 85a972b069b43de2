"""The line against a small broker: its answers and its events come by different ways, in any order between them."""

from collections import deque
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.dialect import Ask
from gateway.line import LONGEST, Entry, Line

SENDERS = ("phone", "laptop")


def entry(id: str, sender: object = "phone") -> Entry:
    return Entry(sender, Ask(id, f"content of {id}"))


def taken(line: Line) -> str | None:
    found = line.take()
    return None if found is None else found.ask.id


class Answer(NamedTuple):
    """What the broker says to a submit: its generation, or the one that it is busy with."""

    generation: int
    busy: bool = False
    ended: bool = False


class Broker:
    """One session of it. `events`: (generation, whether it is the end), on their way to the gateway."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.running = 0
        self.last = 0
        self.events: deque[tuple[int, bool]] = deque()

    def submit(self, id: str) -> Answer:
        if id in self.known:
            return Answer(self.known[id], ended=self.known[id] != self.running)
        if self.running:
            return Answer(self.running, busy=True)
        self.last += 1
        self.known[id] = self.running = self.last
        self.events.append((self.last, False))
        return Answer(self.last)

    def end(self) -> None:
        self.events.append((self.running, True))
        self.running = 0


class Lines(RuleBasedStateMachine):
    """A line, its hub (which asks it after every step), the broker, and another gateway on the same session."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.broker = Broker()
        self.waiting: list[Entry] = []  # pushed, not answered: what must not be lost, in this order
        self.answers: deque[Answer] = deque()
        self.answered: list[str] = []
        self.count = 0

    def advance(self) -> None:
        """As the hub does."""
        before = self.line.submitting
        found = self.line.take()
        if found is not None:
            assert before is None, "two on their way at once"
            self.answers.append(self.broker.submit(found.ask.id))

    @rule(sender=st.sampled_from(SENDERS))
    def push_new(self, sender: str) -> None:
        self.count += 1
        self.push(entry(f"m{self.count}", sender))

    @precondition(lambda self: self.broker.known)
    @rule(data=st.data(), sender=st.sampled_from(SENDERS))
    def push_again(self, data: st.DataObject, sender: str) -> None:
        again = entry(data.draw(st.sampled_from(sorted(self.broker.known))), sender)
        if again not in self.waiting:
            self.push(again)

    def push(self, one: Entry) -> None:
        new = one.ask.id not in self.broker.known
        room = sum(other.ask.id not in self.broker.known for other in self.waiting) < LONGEST
        if self.line.push(one):
            self.waiting.append(one)
        else:
            assert new or len(self.waiting) >= LONGEST
            assert not (new and room and len(self.waiting) < LONGEST)
        self.advance()

    @precondition(lambda self: self.answers)
    @rule()
    def answer(self) -> None:
        answer, submitted = self.answers.popleft(), self.line.submitting
        assert submitted is not None
        if answer.busy:
            self.line.busy(answer.generation)
        else:
            self.line.accepted(answer.generation, ended=answer.ended)
            self.waiting.remove(submitted)
            self.answered.append(submitted.ask.id)
        self.advance()

    @precondition(lambda self: self.line.submitting is not None)
    @rule()
    def fail(self) -> None:
        submitted = self.line.submitting
        assert submitted is not None
        self.answers.clear()
        self.line.failed()
        self.waiting.remove(submitted)
        self.advance()

    @precondition(lambda self: self.broker.events)
    @rule()
    def hear(self) -> None:
        generation, end = self.broker.events.popleft()
        if end:
            self.line.ended(generation)
        else:
            self.line.started(generation)
        self.advance()

    @precondition(lambda self: self.broker.running)
    @rule()
    def end(self) -> None:
        self.broker.end()

    @precondition(lambda self: not self.broker.running)
    @rule()
    def submit_by_another_gateway(self) -> None:
        self.count += 1
        self.broker.submit(f"other {self.count}")

    @rule(sender=st.sampled_from(SENDERS))
    def leave(self, sender: str) -> None:
        self.line.drop(sender)
        submitting = self.line.submitting
        self.waiting = [one for one in self.waiting if one.sender != sender or one is submitting]

    @invariant()
    def knows_what_it_holds(self) -> None:
        assert all(self.line.holds(one.ask.id) for one in self.waiting)
        assert not self.line.holds("nobody's")

    @invariant()
    def is_bounded(self) -> None:
        unknown = [one for one in self.waiting if one.ask.id not in self.broker.known]
        assert len(unknown) <= LONGEST + 1

    def teardown(self) -> None:
        """Nothing is lost and nothing waits for ever: everything is answered, in order, in the end."""
        order = [one.ask.id for one in self.waiting if one.ask.id not in self.broker.known]
        answered = len(self.answered)
        for _ in range(4 * len(self.waiting) + 8):
            while self.answers:
                self.answer()
            if self.broker.running:
                self.broker.end()
            while self.broker.events:
                self.hear()
        assert not self.waiting
        assert [id for id in self.answered[answered:] if id in order] == list(dict.fromkeys(order))
        assert (self.line.submitting, self.line.running) == (None, 0)


TestLines = Lines.TestCase
TestLines.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- by example -----------------------------------------------------------------------------------------------------


def running(generation: int = 7, id: str = "m1") -> Line:
    """A line whose first message runs."""
    line = Line()
    line.push(entry(id))
    line.take()
    line.accepted(generation, ended=False)
    return line


def test_one_at_a_time() -> None:
    line = Line()
    for id in ("m1", "m2"):
        line.push(entry(id))
    assert [taken(line), taken(line)] == ["m1", None]
    line.accepted(7, ended=False)
    assert taken(line) is None
    line.ended(7)
    assert taken(line) == "m2"


def test_eight_wait_besides_the_one_that_runs() -> None:
    line = running()
    assert [line.push(entry(f"m{n}")) for n in range(2, 11)] == [True] * 8 + [False]


def test_an_end_that_is_seen_before_the_acceptance_is_not_waited_for() -> None:
    line = Line()
    line.push(entry("m1"))
    line.take()
    line.ended(7)
    line.accepted(7, ended=False)
    assert line.running == 0


def test_a_busy_that_comes_after_the_end_is_tried_again_at_once() -> None:
    line = Line()
    line.push(entry("m1"))
    line.take()
    line.ended(7)
    line.busy(7)
    assert taken(line) == "m1"


def test_a_busy_that_comes_before_the_end_waits_for_it() -> None:
    line = Line()
    line.push(entry("m1"))
    line.push(entry("m2"))
    line.take()
    line.busy(7)
    assert taken(line) is None
    line.ended(7)
    assert taken(line) == "m1"


def test_an_id_that_was_accepted_does_not_wait_for_its_turn_to_run() -> None:
    line = running()
    line.push(entry("m2"))
    assert line.push(entry("m1", "laptop"))
    assert (taken(line), line.running) == ("m1", 7)


def test_an_id_that_was_accepted_is_not_refused_by_a_full_line() -> None:
    line = running()
    while line.push(entry("m?")):
        pass
    assert line.push(entry("m1", "laptop"))
    assert taken(line) == "m1"


def test_an_id_that_the_broker_has_forgotten_waits_like_the_others() -> None:
    line = running()
    line.push(entry("m1"))
    line.take()
    line.busy(8)
    assert taken(line) is None


def test_ids_are_not_remembered_for_ever() -> None:
    line = Line()
    for n in range(40):
        line.push(entry(f"m{n}"))
        line.take()
        line.accepted(n + 1, ended=True)
    line.started(50)
    line.push(entry("m0"))
    assert taken(line) is None


def test_after_a_loss_nothing_runs_and_no_id_is_known() -> None:
    line = running()
    line.push(entry("m2"))
    line.reset()
    assert taken(line) == "m2"
    line.accepted(8, ended=False)
    line.push(entry("m1"))
    assert taken(line) is None


def test_who_leaves_takes_along_what_waits_but_not_what_is_on_its_way() -> None:
    line = Line()
    for id, sender in (("m1", "phone"), ("m2", "phone"), ("m3", "laptop")):
        line.push(entry(id, sender))
    line.take()
    line.drop("phone")
    assert (line.holds("m1"), line.holds("m2"), line.holds("m3")) == (True, False, True)


def test_what_is_stopped_stays_so_until_it_is_accepted() -> None:
    line = Line()
    for id in ("m1", "m2"):
        line.push(entry(id))
    first = line.take()
    assert first is not None
    assert not first.stopped
    assert [line.stop(id) for id in ("m1", "m2", "m3")] == [True, True, False]
    line.busy(7)
    line.ended(7)
    again = line.take()
    assert again == first._replace(stopped=True)
    line.accepted(8, ended=True)
    assert line.take() == entry("m2")._replace(stopped=True)


@pytest.mark.parametrize("submitting", [True, False])
def test_clearing_gives_everything_that_has_no_answer(submitting: bool) -> None:
    line = Line()
    line.push(entry("m1"))
    if submitting:
        line.take()
    line.push(entry("m2"))
    assert [one.ask.id for one in line.clear()] == ["m1", "m2"]
    assert taken(line) is None
