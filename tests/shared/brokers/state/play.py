"""A broker and the model side by side: what is done to the one is done to the other, and what comes out is compared.

It plays the wrapper, too (collects answers when the state says whom to wake), and the peers: workers that remember
their leases for ever, gateways that keep a transcript of what they were brought.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.brokers.state import BrokerState, Limits
from shared.errors import ChatError, SessionNotFound
from shared.messages import (
    Batch,
    Cursor,
    Delta,
    Done,
    Event,
    Flag,
    Flush,
    Item,
    Lease,
    Page,
    Polled,
    Refusal,
    Started,
    Submission,
    Takeover,
    Tally,
    Timing,
    Usage,
    encode_events,
)
from tests.conftest import FakeClock
from tests.shared.brokers.state.model import Model

STEP = 0.125  # seconds between two ticks; sums of it are exact
EVERYTHING = 1 << 30
LIMITS = Limits(
    queue=2,
    queue_bytes=50,
    queue_timeout=15.0,
    lease=3.25,
    max_attempts=4,
    retention=20.0,
    session_bytes=900,
    page_bytes=300,
    undrained_bytes=600,
    early_cancels=3,
)


@dataclass(eq=False)
class Run:
    """A worker's attempt. It never ends: a zombie is a run whose lease is over."""

    lease: Lease
    next: int = 0
    pieces: int = 0
    restarted: bool = False
    sent: list[Flush] = field(default_factory=list)

    def flush(self, first: int, texts: list[str], *, terminal: bool = False, exact: bool = True) -> Flush:
        """What a worker would send: the head (but before a terminal alone), the pieces, the end."""
        events: list[Event] = [Delta(text) for text in texts]
        flags = int(Flag.TERMINAL) if terminal else 0
        head = first == 0 and (bool(texts) or not terminal)
        restart = head and self.lease.visible and not exact
        if head:
            events.insert(0, Takeover(exact) if self.lease.visible else Started("model"))
            flags |= Flag.RESTART if restart else 0 if self.lease.visible else Flag.STARTED
        if terminal:
            events.append(Done("stop", Usage(1, 1, False), Timing(0, None, 1), "written by a worker"))
        base = 0 if restart or self.restarted else self.lease.tally.pieces
        pieces = base + self.pieces + len(texts)
        tally = Tally(pieces, pieces, 7, 5)
        return Flush(self.lease.number, first, len(events), int(flags), tally, encode_events(events))

    def stored(self, flush: Flush, texts: list[str]) -> None:
        self.sent.append(flush)
        self.next += flush.count
        self.pieces += len(texts)
        self.restarted = self.restarted or bool(flush.flags & Flag.RESTART)


@dataclass(eq=False)
class Worker:
    """`waits`: number and deadline of the poll that the broker has not answered."""

    name: str
    alone: bool
    seen: int = 0
    waits: tuple[int, float] | None = None
    loses_next: bool = False
    runs: dict[int, Run] = field(default_factory=dict)


@dataclass(eq=False)
class Reader:
    """A gateway process. `have`: per session the last item that it handled, as G8 asks of it."""

    name: str
    link: int = 1
    waits: tuple[int, float] | None = None
    loses_next: bool = False
    drains: bool = True
    follows: set[str] = field(default_factory=set)
    have: dict[str, Item] = field(default_factory=dict)


class Play:
    """`make_state` is BrokerState, or one that was broken on purpose."""

    def __init__(self, make_state: Callable[[FakeClock, Limits], BrokerState], limits: Limits = LIMITS) -> None:
        self.clock = FakeClock()
        self.limits = limits
        self.state = make_state(self.clock, limits)
        self.model = Model(self.clock, limits)
        self.workers = [Worker("w0", False), Worker("w1", False), Worker("w2", True)]
        self.readers = [Reader("g0"), Reader("g1")]
        self.runs: list[Run] = []
        self.cursors: list[tuple[str, Cursor]] = []
        self.words = 0
        self.sound = True  # the last comparison was passed

    # --- doing the same to both --------------------------------------------------------------------------------------

    def both(self, method: str, args: tuple[Any, ...], foretell: Callable[[], Any]) -> tuple[Any, Any]:
        """What the state answers (or raises) and what the model does; errors must be the same."""
        try:
            expected = foretell()
        except ChatError as error:
            expected = error
        try:
            result = getattr(self.state, method)(*args)
        except ChatError as error:
            result = error
        assert isinstance(result, ChatError) == isinstance(expected, ChatError), (result, expected)
        if isinstance(result, ChatError):
            assert (type(result), result.detail) == (type(expected), expected.detail)
        return result, expected

    def open(self, session: str, owner: str, floor: int = 0, *, known: bool = False) -> None:
        epoch = self.state.epoch if known else "another"
        args = (session, owner, None, None, floor, epoch)
        self.both("open", args, lambda: self.model.open(session, owner, floor, known))
        self.settle()

    def submit(self, session: str, id: str, floor: int) -> None:
        submission = Submission(session, id, floor, f"{session} {id}".encode().ljust(10 + 10 * int(session[1:])))
        waiting = len(self.model.waiting)
        known = session in self.model.chats and any(r.id == id for r in self.model.chats[session].replies)
        accepted, reply = self.both("submit", (submission,), lambda: self.model.submit(submission))
        if not isinstance(accepted, ChatError):
            ended = not reply.open
            assert (accepted.generation, accepted.repeated, accepted.ended) == (reply.generation, known, ended)
            assert 0 <= accepted.place <= (waiting if reply.waits else 0)
        self.settle()

    def cancel(self, session: str, id: str) -> None:
        result, expected = self.both("cancel", (session, id), lambda: self.model.cancel(session, id))
        assert isinstance(result, ChatError) or result == expected
        self.settle()

    def append(self, flushes: list[Flush]) -> list[bool]:
        """Which of them are stored."""
        answers = [self.model.append(flush) for flush in flushes]
        refusals = self.state.append(flushes)
        expected = [Refusal(place, why, age) for place, (why, age) in enumerate(answers) if why]  # type: ignore[arg-type]
        assert refusals == expected
        self.settle()
        return [not why for why, _ in answers]

    def call(self, method: str, *args: Any, foretell: Callable[[], Any]) -> Any:
        result, _ = self.both(method, args, foretell)
        self.settle()
        return result

    def tick(self) -> None:
        self.state.tick()
        self.model.tick()
        self.settle()

    # --- the peers ---------------------------------------------------------------------------------------------------

    def poll(self, worker: Worker, seen: int, held: list[int] | None, free: int) -> None:
        self.model.poll(worker.name, seen, held, free, worker.alone)
        number = self.state.poll(worker.name, seen, held, free, worker.alone)
        if worker.waits is not None:  # over a link that is gone: it must not take what the new one is to get
            outdated = self.state.polled(worker.name, worker.waits[0], final=False)
            assert outdated == Polled(self.state.epoch, worker.waits[0], [], [], [])
        worker.waits = number, self.clock.now() + self.limits.lease / 3
        self.settle(fresh=worker.name)

    def poll_well(self, worker: Worker, free: int) -> None:
        """As a healthy worker does."""
        if worker.waits is None:
            self.poll(worker, worker.seen, list(worker.runs), free)

    def drain(self, reader: Reader) -> None:
        self.model.drain(reader.name, reader.link)
        number = self.state.drain(reader.name, reader.link)
        if reader.waits is not None:
            outdated = self.state.batch(reader.name, reader.waits[0], final=False)
            assert outdated == Batch(self.state.epoch, False, [], [])
        reader.waits = number, self.clock.now() + 2.0
        self.settle(fresh=reader.name)

    def attach(self, reader: Reader, session: str, after: Cursor | None) -> None:
        """And read on to the end, as the contract asks."""
        name = reader.name
        attached, chat = self.both("attach", (name, session, after), lambda: self.model.attach(name, session))
        if isinstance(attached, ChatError):
            return
        reader.follows.add(session)
        running = chat.running
        ended = [reply.generation for reply in chat.accepted if reply.ended_at is not None]
        assert (attached.owner, attached.newest) == (chat.owner, len(chat.log) - 1)
        assert attached.open == ([] if running is None else [running.id])
        assert attached.running == (0 if running is None else running.generation)
        assert attached.ended == max(ended, default=0)
        assert attached.page == chat.page(after, self.limits.page_bytes)
        page: Page = attached.page
        while True:
            self.handle_page(reader, session, page)
            if not page.more:
                break
            page = self.state.read(session, page.items[-1].cursor, 200)
        self.settle()

    def handle_page(self, reader: Reader, session: str, page: Page) -> None:
        if not page.recovered:
            reader.have.pop(session, None)
        for item in page.items:
            before = reader.have.get(session)
            if before is None or item.index > before.index:
                assert before is None or item.index == before.index + 1
                reader.have[session] = item

    def handle_batch(self, reader: Reader, items: list[Item]) -> None:
        """Writes only the successor, drops what is not newer; a gap would be a fault of the broker here."""
        for item in items:
            before = reader.have.get(item.session)
            if item.session not in reader.follows or (before is not None and item.index <= before.index):
                continue
            assert before is None or item.index == before.index + 1
            assert before is None or item.cursor.position > before.cursor.position
            reader.have[item.session] = item

    def read(self, session: str, after: Cursor | None, limit: int) -> None:
        page, expected = self.both("read", (session, after, limit), lambda: self.model.chat(session).page(after, limit))
        assert isinstance(page, ChatError) or page == expected

    # --- what the wrapper does, and the comparison -------------------------------------------------------------------

    def settle(self, fresh: str = "") -> None:
        """After every step: compare what is stored, then bring the answers that are due. `fresh`: began to wait."""
        self.sound = False
        wake = self.state.take_wake() | {fresh}
        self.compare()
        answers = [(worker, self.answer_of(worker, wake)) for worker in self.workers]
        leases = [(lease, worker) for worker, polled in answers if polled is not None for lease in polled.leases]
        for lease, worker in sorted(leases, key=lambda pair: pair[0].number):
            self.model.leased(worker.name, lease)
            self.runs.append(Run(lease))
        for worker, polled in answers:
            if polled is not None:
                self.deliver(worker, polled)
        for reader in self.readers:
            self.bring(reader, wake)
        self.check_nobody_waits_in_vain()
        self.check_numbers()
        self.sound = True

    def answer_of(self, worker: Worker, wake: set[str]) -> Polled | None:
        if worker.waits is None:
            return None
        number, deadline = worker.waits
        final = self.clock.now() >= deadline
        polled = self.state.polled(worker.name, number, final=final)
        if polled is None:
            seat = self.model.seats[worker.name]
            assert not seat.lost
            assert not seat.cancels & self.model.leases.keys()
            return None
        assert final or worker.name in wake, "news, but nobody was woken"
        worker.waits = None
        return polled

    def deliver(self, worker: Worker, polled: Polled) -> None:
        if worker.name in self.model.seats:
            self.model.answered(worker.name, polled)
        else:
            assert polled == Polled(self.state.epoch, polled.number, [], [], [])
        if worker.loses_next:
            worker.loses_next = False
            return
        worker.seen = polled.number
        for number in polled.lost:
            worker.runs.pop(number, None)
        runs = {run.lease.number: run for run in self.runs}
        worker.runs.update((lease.number, runs[lease.number]) for lease in polled.leases)

    def bring(self, reader: Reader, wake: set[str]) -> None:
        if reader.waits is None:
            return
        number, deadline = reader.waits
        final = self.clock.now() >= deadline
        batch = self.state.batch(reader.name, number, final=final)
        gateway = self.model.gateways.get(reader.name)
        if batch is None:
            assert gateway is not None
            assert (gateway.lost, gateway.pending, gateway.gone) == (False, [], [])
            return
        assert final or reader.name in wake, "news, but nobody was woken"
        reader.waits = None
        self.model.brought(reader.name, batch)
        if reader.loses_next:
            reader.loses_next = False
            reader.link += 1  # that is how a batch gets lost
            reader.follows.clear()
            return
        if batch.lost:
            reader.follows.clear()
        self.handle_batch(reader, batch.items)

    def compare(self) -> None:
        """The stored bytes are those that were accepted, and terminals that were due."""
        for chat in tuple(self.model.chats.values()):
            try:
                page = self.state.read(chat.id, None, EVERYTHING)
            except SessionNotFound:
                self.check_session_may_go(chat.id)
                continue
            for item in page.items:
                if item.index == len(chat.log):
                    self.model.made(item)
            assert page == Page(chat.log[chat.kept :], more=False)
            assert all(not reply.due for reply in chat.replies)
            assert not any(b"zombie" in item.events for item in page.items)
            self.check_session_must_stay(chat.id)
            self.remember_cursors(chat.id, page.items[-1:])

    def remember_cursors(self, session: str, items: list[Item]) -> None:
        for item in items:
            if not self.cursors or self.cursors[-1] != (session, item.cursor):
                self.cursors.append((session, item.cursor))

    def check_session_may_go(self, session: str) -> None:
        """G11: within the two seconds that its looking once per second may take."""
        chat = self.model.chats.pop(session)
        assert not chat.replies
        assert not self.model.followers(chat)
        assert chat.idle_since + self.limits.retention <= self.clock.now() + 1.0

    def check_session_must_stay(self, session: str) -> None:
        chat = self.model.chats[session]
        if not (chat.replies or self.model.followers(chat)):
            assert self.clock.now() <= chat.idle_since + self.limits.retention + 1.0

    def check_numbers(self) -> None:
        stats, model, now = self.state.stats(), self.model, self.clock.now()
        waiting = model.waiting
        assert (stats.sessions, stats.running, stats.queued) == (len(model.chats), len(model.leases), len(waiting))
        assert stats.suspects == sum(reply.suspect for reply in waiting)
        assert stats.workers == sum(not seat.alone and seat.seen_at >= now - 6.5 for seat in model.seats.values())
        assert stats.gateways == sum(gateway.seen_at >= now - 6.5 for gateway in model.gateways.values())
        assert (stats.kept_bytes > 0) == any(chat.bytes for chat in model.chats.values())
        assert all(chat.bytes <= self.limits.session_bytes + 400 for chat in model.chats.values())  # and a terminal
        sessions = [*model.chats, "nobody's"]
        assert self.state.newest(sessions) == [*(len(chat.log) - 1 for chat in model.chats.values()), -1]

    def check_nobody_waits_in_vain(self) -> None:
        """A reply that waits while a worker could take it was forgotten."""
        for worker in self.workers:
            seat = self.model.seats.get(worker.name)
            if worker.waits is not None and seat is not None and seat.free > 0:
                assert not [reply for reply in self.model.waiting if reply.suspect == worker.alone]

    def text(self, *, zombie: bool, size: int = 0) -> str:
        """A piece of text that occurs once."""
        self.words += 1
        return f"{'zombie' if zombie else 'word'}-{self.words} ".ljust(size, ".")
