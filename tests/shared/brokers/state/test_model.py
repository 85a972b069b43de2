"""G1 to G11 on the state machine, against the model, under every order of events that Hypothesis thinks of."""

from collections.abc import Callable
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from shared.brokers.state import BrokerState, Limits
from shared.messages import Flush, Lease
from tests.conftest import FakeClock
from tests.shared.brokers.state.play import STEP, Play, Reader, Run, Worker

OWNERS = {"s0": "ann", "s1": "ann", "s2": "bob", "s3": "ann"}
sessions = st.sampled_from(["s0", "s0", "s1", "s2", "s3"])
ids = st.sampled_from([f"m{number}" for number in range(5)])
index = st.integers(0, 2)
anywhere = st.integers(0, 1000)
kinds = st.sampled_from(
    ["next", "next", "next", "end", "alone", "repeat", "hole", "overlap", "longer", "forged", "cuckoo"]
)
TROUBLES = [
    "forget",
    "worker leaves",
    "gateway leaves",
    "detach",
    "answer lost",
    "answer lost",
    "batch lost",
    "calendar",
    "long silence",
]


class BrokerMachine(RuleBasedStateMachine):
    """Every rule is something that a peer, the user or the time may do."""

    make_state: ClassVar[Callable[[FakeClock, Limits], BrokerState]] = BrokerState

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(type(self).make_state)

    @initialize()
    def a_usual_morning(self) -> None:
        """Without this most of a short run would go into getting anywhere."""
        for session, owner in OWNERS.items():
            self.play.open(session, owner)
        for reader in self.play.readers:
            self.play.drain(reader)
            self.play.attach(reader, "s0", None)
        self.work(self.play.workers, 1)
        for session in OWNERS:
            self.play.submit(session, "m0", 0)

    # --- users -------------------------------------------------------------------------------------------------------

    @rule(session=sessions, id=ids, floor=st.integers(-5, 5), work=st.booleans())
    def submit(self, session: str, id: str, floor: int, work: bool) -> None:
        self.play.open(session, OWNERS[session])
        if work:
            self.work(self.play.workers, 2)
        self.play.submit(session, id, self.play.clock.wall_ms() + floor)

    @rule(session=sessions, floor=st.integers(-5, 5), known=st.booleans())
    def open_again(self, session: str, floor: int, known: bool) -> None:
        """By a gateway that has seen a memory which is lost, or this one."""
        self.play.open(session, OWNERS[session], self.play.clock.wall_ms() + floor, known=known)

    @rule(session=sessions, id=ids, submit=st.booleans())
    def cancel(self, session: str, id: str, submit: bool) -> None:
        """Perhaps of what is on its way."""
        self.play.cancel(session, id)
        if submit:
            self.play.submit(session, id, 0)

    @precondition(lambda self: self.play.model.leases)
    @rule(at=anywhere)
    def cancel_what_runs(self, at: int) -> None:
        replies = [*self.play.model.leases.values()]
        reply = replies[at % len(replies)]
        self.play.cancel(reply.chat.id, reply.id)

    def forget(self, session: str) -> None:
        self.play.call("forget", session, foretell=lambda: self.play.model.forget(session))
        for reader in self.play.readers:
            reader.follows.discard(session)
            reader.have.pop(session, None)

    # --- workers -----------------------------------------------------------------------------------------------------

    @rule(at=index, free=st.integers(0, 3), names=st.sampled_from(["all", "none", "strangers"]), stale=st.booleans())
    def poll(self, at: int, free: int, names: str, stale: bool) -> None:
        worker = self.play.workers[at]
        held = {"all": list(worker.runs), "none": None, "strangers": [run.lease.number for run in self.play.runs]}
        self.play.poll(worker, max(0, worker.seen - stale), held[names], free)

    @rule(free=st.integers(0, 2))
    def work_well(self, free: int) -> None:
        self.work(self.play.workers, free)

    def work(self, workers: list[Worker], free: int) -> None:
        for worker in workers:
            if worker.waits is None:
                self.play.poll(worker, worker.seen, list(worker.runs), free)

    @precondition(lambda self: self.play.runs)
    @rule(
        choices=st.lists(st.tuples(st.integers(0, 4), kinds, st.integers(1, 3)), min_size=1, max_size=3),
        exact=st.booleans(),
    )
    def append(self, choices: list[tuple[int, str, int]], exact: bool) -> None:
        """By the newest runs, whether they may write or not; each run at most once in a call, as workers do."""
        newest = self.play.runs[::-1]
        chosen = {newest[at % len(newest)]: (kind, count) for at, kind, count in choices}
        self.append_made([(run, *self.make(run, kind, count, exact)) for run, (kind, count) in chosen.items()])

    @precondition(lambda self: self.play.model.leases)
    @rule(pieces=st.integers(0, 4), exact=st.booleans(), size=st.sampled_from([0, 0, 200]), again=st.booleans())
    def append_well(self, pieces: int, exact: bool, size: int, again: bool = False) -> None:
        """By all that may write; with no piece, the head alone. `again`: the answer was lost."""
        texts = [self.play.text(zombie=False, size=size) for _ in range(pieces)]
        made = [
            (run, run.flush(run.next, texts, exact=exact), texts) for run in self.writers() if texts or not run.next
        ]
        self.append_made(made)
        if again:
            self.play.append([flush for _, flush, _ in made])

    @precondition(lambda self: self.play.model.leases)
    @rule()
    def finish_well(self) -> None:
        """All that may write."""
        self.finish([])

    @precondition(lambda self: self.play.model.leases)
    @rule()
    def finish_with_text(self) -> None:
        self.finish([self.play.text(zombie=False)])

    def finish(self, texts: list[str]) -> None:
        self.append_made([(run, run.flush(run.next, texts, terminal=True), texts) for run in self.writers()])

    def writers(self) -> list[Run]:
        return [run for run in self.play.runs if run.lease.number in self.play.model.leases]

    def append_made(self, made: list[tuple[Run, Flush, list[str]]]) -> None:
        stored = self.play.append([flush for _, flush, _ in made])
        for (run, flush, texts), fine in zip(made, stored, strict=True):
            if fine and flush.first == run.next and flush.lease == run.lease.number:
                run.stored(flush, texts)

    def make(self, run: Run, kind: str, count: int, exact: bool) -> tuple[Flush, list[str]]:
        zombie = run.lease.number not in self.play.model.leases
        if kind == "repeat" and run.sent:
            return run.sent[-min(count, len(run.sent))], []
        if kind == "longer" and run.sent:
            return run.flush(run.sent[-1].first, [self.play.text(zombie=True)] * (run.sent[-1].count + count)), []
        first = max(0, run.next + {"hole": count, "overlap": -1}.get(kind, 0))
        wrong = zombie or first != run.next or kind in ("forged", "cuckoo")
        texts = [] if kind == "alone" else [self.play.text(zombie=wrong)] * count
        flush = run.flush(first, texts, terminal=kind in ("end", "alone"), exact=exact)
        if kind == "forged":
            flush = msgspec.structs.replace(flush, lease=max(self.given()) + 1)
        elif kind == "cuckoo":
            flush = msgspec.structs.replace(flush, lease=self.former(run.lease))
        return flush, texts

    def given(self) -> list[int]:
        """The leases so far."""
        return [run.lease.number for run in self.play.runs]

    def former(self, lease: Lease) -> int:
        """The one before it of the same reply, or where it is the first, one that was never given."""
        same = [run.lease for run in self.play.runs if (run.lease.session, run.lease.id) == (lease.session, lease.id)]
        return max((one.number for one in same if one.number < lease.number), default=min(self.given()) - 1)

    @precondition(lambda self: self.play.runs)
    @rule(numbers=st.lists(anywhere, min_size=1, max_size=3), method=st.sampled_from(["release", "renew"]))
    def release_or_renew(self, numbers: list[int], method: str) -> None:
        runs = self.play.runs[-4:]
        leases = list({runs[number % len(runs)].lease.number: None for number in numbers})
        model = self.play.model
        self.play.call(method, leases, foretell=lambda: getattr(model, method)(leases))

    @rule(pieces=st.sampled_from([None, 0, 1]), again=st.booleans())
    def crash(self, pieces: int | None, again: bool) -> None:
        """Of whoever runs something, before or after some progress; they may be there again at once."""
        busy = {reply.worker for reply in self.play.model.leases.values()}
        if pieces is not None and busy:
            self.append_well(pieces, True, 0)
        for at, worker in enumerate(self.play.workers):
            if worker.name in busy:
                self.end_of_a_worker(at, blame=True)
        if again:
            self.work(self.play.workers, 1)

    def end_of_a_worker(self, at: int, blame: bool) -> None:
        """Its process is gone, though what it sent may still arrive, and one of that name may come again."""
        worker, model = self.play.workers[at], self.play.model
        method = "bury" if blame else "leave_worker"
        suspects = self.play.call(method, worker.name, foretell=lambda: model.leave_worker(worker.name, blame=blame))
        assert not blame or suspects >= sum(reply.suspect for reply in model.waiting)
        if worker.waits is None:
            worker.seen, worker.runs = 0, {}

    # --- gateways ----------------------------------------------------------------------------------------------------

    @rule(at=st.integers(0, 1), session=sessions, after=st.sampled_from(["have", "have", "start", "somewhere"]))
    def attach(self, at: int, session: str, after: str) -> None:
        reader = self.play.readers[at]
        have = reader.have.get(session)
        if after == "have" and have is not None:
            self.play.attach(reader, session, have.cursor)
        elif after == "somewhere" and have is not None:
            self.play.attach(reader, session, have.cursor._replace(nonce="0" * 8))
        else:
            reader.have.pop(session, None)
            self.play.attach(reader, session, None)

    def detach(self, at: int, session: str) -> None:
        reader = self.play.readers[at]
        reader.follows.discard(session)
        model = self.play.model
        self.play.call("detach", reader.name, session, foretell=lambda: model.detach(reader.name, session))

    @rule(at=st.integers(0, 1), broken=st.booleans())
    def drain(self, at: int, broken: bool) -> None:
        reader = self.play.readers[at]
        if broken:
            reader.link += 1
            reader.follows.clear()
        self.play.drain(reader)

    @rule()
    def drain_well(self) -> None:
        for reader in self.play.readers:
            if reader.waits is None:
                self.play.drain(reader)
            for session in sorted(self.play.model.chats.keys() - reader.follows):
                self.attach(self.play.readers.index(reader), session, "have")

    def end_of_a_gateway(self, at: int) -> None:
        reader, model = self.play.readers[at], self.play.model
        reader.follows.clear()
        self.play.call("leave_gateway", reader.name, foretell=lambda: model.leave_gateway(reader.name))

    @precondition(lambda self: self.play.cursors)
    @rule(at=anywhere, back=st.integers(-1, 2), nonce=st.booleans(), limit=st.sampled_from([1, 100, 400, 1 << 30]))
    def read(self, at: int, back: int, nonce: bool, limit: int) -> None:
        """From stored events, from those that are gone, from the floor, and from what never was."""
        session, cursor = self.play.cursors[at % len(self.play.cursors)]
        after = cursor._replace(seq=max(0, cursor.seq - back), nonce=cursor.nonce if nonce else "0" * 8)
        self.play.read(session, after, limit)

    @rule(session=sessions, floor=st.booleans(), limit=st.sampled_from([1, 100, 1 << 30]))
    def read_from_the_start(self, session: str, floor: bool, limit: int) -> None:
        chat = self.play.model.chats.get(session)
        self.play.read(session, chat.floor if floor and chat is not None else None, limit)

    # --- time and trouble --------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(TROUBLES), at=st.integers(0, 1), session=sessions)
    def trouble(self, kind: str, at: int, session: str) -> None:
        """What is rare."""
        match kind:
            case "forget":
                self.forget(session)
            case "worker leaves":
                self.end_of_a_worker(at, blame=False)
            case "gateway leaves":
                self.end_of_a_gateway(at)
            case "detach":
                self.detach(at, session)
            case "answer lost":
                self.play.workers[at].loses_next = True
            case "batch lost":
                self.play.readers[at].loses_next = True
            case "calendar":
                self.play.clock.set_wall(self.play.clock.wall_ms() + (2 * at - 1) * 3_600_000)
            case "long silence":
                self.pass_steps(21.0, [], [])

    @rule(
        seconds=st.sampled_from([0.125, 0.125, 0.5, 0.5, 1.0, 1.0, 2.5, 3.0, 3.5, 11.0]),
        working=st.integers(0, 3),
        draining=st.integers(0, 2),
        supervised=st.booleans(),
    )
    def pass_time(self, seconds: float, working: int, draining: int, supervised: bool) -> None:
        """While some peers do what they should and others are silent, or blocked and supervised."""
        self.pass_steps(seconds, self.play.workers[:working], self.play.readers[:draining], supervised=supervised)

    def pass_steps(
        self, seconds: float, workers: list[Worker], readers: list[Reader], *, supervised: bool = False
    ) -> None:
        play = self.play
        leases = [*play.model.leases]
        for _ in range(int(seconds / STEP)):
            if supervised:
                play.call("renew", leases, foretell=lambda: play.model.renew(leases))
            play.clock.advance(STEP)
            play.tick()
            for worker in workers:
                play.poll_well(worker, 1)
            for reader in readers:
                if reader.waits is None:
                    play.drain(reader)

    @rule(seconds=st.sampled_from([3.5, 5.0, 12.0]))
    def pause_of_the_broker(self, seconds: float) -> None:
        self.play.clock.advance(seconds)
        self.play.tick()

    # --- the end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if self.play.sound:
            self.all_is_answered()
            self.nothing_is_left()

    def all_is_answered(self) -> None:
        """G1, G4: whatever was accepted ends exactly once, as soon as there are able workers for long enough."""
        play = self.play
        chats = [*play.model.chats.values()]
        for _ in range(int(20 / STEP)):
            self.pass_steps(STEP, play.workers, play.readers)
            self.finish([])
            if not (play.model.waiting or play.model.leases):
                break
        for chat in chats:
            for reply in chat.accepted:
                ends = [item for item in chat.log if item.terminal and item.generation == reply.generation]
                assert len(ends) == 1 or chat.id not in play.model.chats
                assert len(ends) <= 1

    def nothing_is_left(self) -> None:
        """G11. The only look at what is private."""
        play = self.play
        for at, worker in enumerate(play.workers):
            self.end_of_a_worker(at, blame=False)
            worker.waits = None
        for at in range(len(play.readers)):
            self.end_of_a_gateway(at)
        self.pass_steps(43.0, [], [])
        state, life = play.state, play.state._life
        assert (state._sessions, state._unfollowed, state._seats, state._subscribers) == ({}, {}, {}, {})
        assert (life.held, life.written, life.cancelling, len(life.ended)) == ({}, {}, {}, 0)
        assert (len(life.queue), life.queue._owners) == (0, {})
        assert life.kept_bytes == 0
        assert not state.active
        assert not state.take_wake()


def check(machine: type[BrokerMachine], examples: int, steps: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Run that many plays, the same ones each time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=phases,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_broker_keeps_its_contract() -> None:
    check(BrokerMachine, 150, 50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_broker_keeps_its_contract_for_long() -> None:
    run_state_machine_as_test(
        BrokerMachine,
        settings=settings(max_examples=3000, stateful_step_count=80, deadline=None),
    )
