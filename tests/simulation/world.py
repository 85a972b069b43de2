"""The whole of one simulation: who is there, what goes wrong, how it ends."""

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from gateway import paging
from shared.brokers.state import Limits
from tests.simulation.broker import BrokerProcess
from tests.simulation.chance import decided_by, log_heard_by
from tests.simulation.database import Database, DatabaseLink
from tests.simulation.engines import INTERVALS, KINDS, Engines
from tests.simulation.faults import plan
from tests.simulation.gateway import GatewayProcess
from tests.simulation.invariants import Records
from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import Address, Network, simulated_wires
from tests.simulation.person import Person, Watcher, Wish
from tests.simulation.trouble import Trouble
from tests.simulation.typist import Typist
from tests.simulation.violation import Violation
from tests.simulation.worker import Supervisor, WorkerProcess

RETENTION = 40.0
PAGES = (64 << 10, 64 << 10, 250)  # bytes
UNDRAINED = (64 << 20, 64 << 20, 2_000)  # bytes
QUEUE = (10_000, 10_000, 2)
SPAN = 8.0  # seconds in which people ask and faults strike
PATIENCE = 60.0  # seconds from the last fault to the end of everything that was accepted
STOPPING = 26.0  # seconds that the processes get to end, and the broker to miss those that were killed
AFTERWARDS = 60.0  # seconds after which the broker must have forgotten all
LOOK = 0.25  # seconds between two looks at whether everybody has what he wants
BROKER_START = 0.2


class Result(NamedTuple):
    """How a run ended. `stored`: with a history. `failures` is empty where all promises were kept."""

    seed: int
    stored: bool
    failures: list[str]
    trace: int
    callbacks: int
    seconds: float
    counts: dict[str, int]


class MachineClock:
    """One machine's clocks; `offset_ms` is how wrong its calendar is."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.offset_ms = 0

    def now(self) -> float:
        """See Clock."""
        return self._loop.now

    def wall_ms(self) -> int:
        """See Clock."""
        return 1_700_000_000_000 + int(self._loop.now * 1000) + self.offset_ms


class World:
    """Everything, from the seed. `tell` gets lines for whoever wants to read what happens."""

    def __init__(
        self, seed: int, loop: SimLoop, tell: Callable[[str], None] | None = None, *, stored: bool = False
    ) -> None:
        self.seed = seed
        self.database = Database() if stored else None
        self._tell = tell
        chance = Random(f"world {seed}")
        self.chance = Random(f"faults {seed}")
        self.loop = loop
        if tell is not None:
            self.loop.say = lambda line: self.say("loop", "", line)
        self.began_at = self.loop.now
        self.clock = MachineClock(self.loop)
        self.faults = plan(self.chance, SPAN)
        self.network = Network(self.loop, Random(f"network {seed}"), steady=not self.faults)
        self.address = Address(self.network)
        self.engines = Engines(chance.choice(KINDS), chance.randint(1, 12), chance.choice(INTERVALS))
        self.records = Records(self.engines, self.database)
        self.limits = Limits(
            queue=chance.choice(QUEUE),
            retention=RETENTION,
            page_bytes=chance.choice(PAGES),
            undrained_bytes=chance.choice(UNDRAINED),
        )
        self.page_bytes = chance.choice(PAGES)
        self.counts: dict[str, int] = {}
        self.brokers: list[BrokerProcess] = []
        self.gateways: list[GatewayProcess] = []
        self._names = 0
        self._reviving = False
        self._slots = chance.randint(1, 4)
        self._start_broker()
        for _ in range(chance.randint(1, 2)):
            self.start_gateway()
        self.supervisor = Supervisor(self.loop, self.address, chance.randint(2, 3), self._make_worker)
        self.people: list[Person | Typist] = []
        self._invite(chance)
        trouble = Trouble(self)
        for fault in self.faults:
            self.outside(self.began_at + fault.at, trouble.begin, fault)
        if self.database is not None:
            self._plan_outages(self.database, Random(f"outages {seed}"))
        self._ends_at = self.began_at + SPAN + PATIENCE
        self.outside(self.began_at + SPAN, self._look)

    def say(self, who: str, way: str, what: object) -> None:
        """A line for the curious."""
        if self._tell is not None:
            self._tell(f"{self.loop.now - self.began_at:10.6f} {who} {way} {what}")

    def note(self, what: str) -> None:
        """Count something, unless it is nothing."""
        if what:
            self.counts[what] = self.counts.get(what, 0) + 1

    def outside(self, when: float, what: Callable[..., None], *args: Any) -> None:
        """Let something happen that is nobody's doing."""
        self.loop.post(self.loop.outside.main, when, what, *args)

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _store_of(self, process: str) -> DatabaseLink | None:
        return None if self.database is None else DatabaseLink(self.database, Random(f"store {process} {self.seed}"))

    def _plan_outages(self, database: Database, chance: Random) -> None:
        def be(away: bool) -> None:
            self.note("database away" if away else "")
            database.away = away

        for _ in range(chance.choice((0, 0, 1, 2)) if self.faults else 0):
            begins = chance.uniform(0.2, SPAN)
            self.outside(self.began_at + begins, be, True)
            self.outside(self.began_at + begins + chance.uniform(0.05, 5.0), be, False)

    # --- who is there ------------------------------------------------------------------------------------------------

    def _invite(self, chance: Random) -> None:
        for tag in "abcd"[: chance.randint(1, 4)]:
            host = Person(self, f"person {tag}", tag, _wishes(chance), Random(f"{tag} {self.seed}"))
            self.people.append(host)
            if chance.random() < 0.5:
                watching = Random(f"watcher {tag} {self.seed}")
                self.people.append(Watcher(self, f"watcher {tag}", host, _watching(chance), watching))
        if chance.random() < 0.5:
            moments = sorted(chance.uniform(1.0, SPAN) for _ in range(chance.randint(1, 5)))
            self.people.append(Typist(self, "t", moments, Random(f"typist {self.seed}")))

    def _start_broker(self) -> None:
        self._reviving = False
        broker = BrokerProcess(self.loop, self._name("broker "), self.clock, self.limits, self.note)
        self.network.broker = broker
        self.brokers.append(broker)
        self.records.memories = len(self.brokers)

    def _revive(self) -> None:
        if not self._reviving and self.network.broker is None:
            self._reviving = True
            self.outside(self.loop.now + BROKER_START, self._start_broker)

    def start_gateway(self) -> None:
        """One more, with a name of its own."""
        name = self._name("gateway ")
        chance = Random(f"{name} {self.seed}")
        store = self._store_of(name)
        self.gateways.append(GatewayProcess(self.loop, name, self.clock, self.address, self._revive, chance, store))

    def _make_worker(self, alone: bool) -> WorkerProcess:
        self.note("a worker for suspects" if alone else "")
        name = self._name("worker ")
        return WorkerProcess(
            self.loop,
            name,
            self.clock,
            self.address,
            self.engines,
            slots=1 if alone else self._slots,
            lease=self.limits.lease,
            alone=alone,
            ended=self._worker_ended,
            store=self._store_of(name),
        )

    def _worker_ended(self, worker: WorkerProcess) -> None:
        if not worker.process.alive:
            return  # killed while it was about to end
        self.check_left(worker.process.name, self.loop.pending(worker.process), tasks=1)
        worker.kill()
        self.supervisor.mourn(worker, 0.005)

    def some_gateway(self, chance: Random) -> GatewayProcess | None:
        """One that listens: the kernel takes connections for one that is stopped, too."""
        listening = [gateway for gateway in self.gateways if not gateway.refuses]
        return chance.choice(listening) if listening else None

    def everything(self) -> list[Process]:
        """All processes that may still have something of theirs in the loop."""
        served = [one.process for one in (*self.brokers, *self.gateways, *self.supervisor.workers, *self.people)]
        return [*served, self.supervisor.process, self.loop.outside]

    # --- how it ends -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Has everybody got what was promised?"""
        stats = None if self.network.broker is None else self.network.broker.state.stats()
        busy = stats is None or stats.queued or stats.running
        if not busy and all(person.finished for person in self.people):
            self._part()
        elif self.loop.now < self._ends_at:
            self.outside(self.loop.now + LOOK, self._look)
        else:
            waiting = [person.waits_for() for person in self.people if not person.finished]
            self.loop.fail(f"hang: {'; '.join(waiting) or stats}")

    def _part(self) -> None:
        """Everybody leaves; then the service is stopped."""
        self.say("everybody", "", "leaves")
        for person in self.people:
            person.leave()
        self.outside(self.loop.now + STOPPING, self._stop_all)

    def _stop_all(self) -> None:
        broker = self.network.broker
        assert broker is not None
        left = [what for gateway in self.gateways for what in gateway.left()]
        subscribed = [name for name, one in broker.state._subscribers.items() if one.sessions]
        self.check_left("the service", left + [f"{name} is still subscribed" for name in subscribed])
        self.supervisor.stop()
        for gateway in self.gateways:
            gateway.stop()
        self.outside(self.loop.now + STOPPING, self._check_processes)

    def _check_processes(self) -> None:
        left = [f"{worker.process.name} has not ended" for worker in self.supervisor.workers]
        left += self.loop.pending(self.supervisor.process)
        for gateway in self.gateways:
            left += self.loop.pending(gateway.process)
        self.check_left("the processes", left)
        for gateway in self.gateways:
            gateway.kill()
        self.outside(self.loop.now + AFTERWARDS, self._check_broker)

    def _check_broker(self) -> None:
        broker = self.network.broker
        assert broker is not None
        state, stats = broker.state, broker.state.stats()
        counts = (stats.sessions, stats.queued, stats.running, stats.kept_bytes)
        peers = [*state._seats, *state._subscribers, *broker.waiting, *state._life.cancelling]
        if any(counts) or peers:
            self.loop.fail(f"left: the broker still has {stats}, {peers}")
        self.loop.over = True

    def check_left(self, who: str, left: list[str], tasks: int = 0) -> None:
        """G11. `tasks`: how many may be there, namely those that ask."""
        if len(left) > tasks:
            self.loop.fail(f"left: {who}: {'; '.join(left)}")


def run(seed: int, tell: Callable[[str], None] | None = None, *, stored: bool = False) -> Result:
    """Everything that follows from a seed. `stored`: with a history."""
    failures: list[str] = []

    def hear(level: str, line: str) -> None:
        if level not in ("warning", "info", "debug"):
            failures.append(f"log: {line}")

    with ExitStack() as stack:
        stack.enter_context(decided_by(seed))
        stack.enter_context(log_heard_by(hear))
        stack.enter_context(simulated_wires())
        loop = SimLoop(Random(f"order {seed}"))
        stack.enter_context(loop.running())
        world = World(seed, loop, tell, stored=stored)
        stack.enter_context(patch.object(paging, "PAGE_BYTES", world.page_bytes))
        loop.play()
        failures += loop.failures or _judge(world)
        for process in world.everything():
            process.kill()
    return Result(seed, stored, failures, loop.trace, loop.callbacks, loop.now - world.began_at, world.counts)


def _judge(world: World) -> list[str]:
    try:
        world.records.check_stretches()
        for person in world.people:
            if isinstance(person, Person):
                person.transcript.check_settled()
    except Violation as broken:
        return [str(broken)]
    return []


def _wishes(chance: Random) -> list[Wish]:
    """A person's hours."""
    wishes = [Wish(chance.uniform(0.2, SPAN), "ask") for _ in range(chance.randint(1, 6))]
    kinds = ("change_mind", "change_mind", "cancel", "repeat", "vanish", "vanish", "stop_reading")
    for what in chance.choices(kinds, k=chance.randint(0, 6)):
        wishes.append(
            Wish(chance.uniform(0.5, SPAN), what, chance.uniform(0.1, 9.0 if what == "stop_reading" else 3.0))
        )
    return sorted(wishes)


def _watching(chance: Random) -> list[Wish]:
    kinds = ("cancel", "vanish", "vanish", "stop_reading")
    return [
        Wish(chance.uniform(0.5, SPAN), what, chance.uniform(0.1, 5.0))
        for what in chance.choices(kinds, k=chance.randint(0, 3))
    ]
