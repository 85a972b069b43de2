"""More and more processes under the same load: what a chunk costs in each group of them, and why; what a broker adds to
the time of a reply; what a kept reply takes."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from benchmarks.generator import Failed
from benchmarks.measuring import Ready, run
from benchmarks.peers import Commands, Peer
from benchmarks.places import ROOT, Unavailable
from benchmarks.resp import Server
from benchmarks.results import Results
from benchmarks.scenarios import CHUNKS, Scenario, poisson, scenarios
from benchmarks.servers import NotStarted, Servers, free_port

BROKERS = ("redis", "manager")
SHAPES = ((1, 1), (2, 1), (4, 1), (1, 2), (1, 4), (2, 2), (4, 4))
PARTS = ("grid", "wall")
CONNECTIONS = 400
INTERVAL = 0.05  # seconds between two chunks
REST = 3.0  # seconds in which all processes are looked at while nothing is asked of them
QUIET = ["--log-level", "warning"]
Out = Callable[[str], object]


class Shape(NamedTuple):
    """How many processes of each kind."""

    gateways: int
    workers: int

    @property
    def name(self) -> str:
        """As in 2x1."""
        return f"{self.gateways}x{self.workers}"


class Plan(NamedTuple):
    """`rate`: chunks per second in all, `seconds` of load in each run."""

    broker: str
    shapes: Sequence[Shape]
    parts: Sequence[str]
    rounds: int
    rate: float
    seconds: float


def measure(plan: Plan, results: Results, out: Out) -> None:
    """All runs of the plan, and those with the other broker that it is compared with. Raises Unavailable."""
    for number in range(1, plan.rounds + 1):
        if "grid" in plan.parts:
            for shape in plan.shapes if number % 2 else reversed(plan.shapes):
                _one(results, out, plan.broker, shape, load(plan), number)
            for other in BROKERS:
                if other != plan.broker:
                    _one(results, out, other, Shape(1, 1), load(plan), number)
        if "wall" in plan.parts:
            wall = scenarios(plan.seconds)["wall"]
            for broker in BROKERS:
                _one(results, out, broker, Shape(1, 1), wall, number)
            _alone(results, out, wall, number)


def load(plan: Plan) -> Scenario:
    """Messages at random moments."""
    words = f"{CONNECTIONS} connections, {plan.rate:,.0f} chunks per second in all"
    return Scenario("scale", words, INTERVAL, (poisson(CONNECTIONS, plan.rate / CHUNKS, plan.seconds),), plan.seconds)


def _one(results: Results, out: Out, broker: str, shape: Shape, scenario: Scenario, number: int) -> None:
    stand = Stand(broker, shape)
    try:
        record = run(stand.ready(), scenario, number, stand.before, stand.behind) | stand.seen
    except (NotStarted, Failed) as error:
        record = {"doubts": [str(error)]}
    names = {"broker": broker, "gateways": shape.gateways, "workers": shape.workers, "round": number}
    results.add("scale", scenario=scenario.name, **names, **record)
    cost = f"{record['us']} us per chunk, {record['each_us']}" if "us" in record else ""
    out(f"{scenario.name} {broker} {shape.name} round {number}: {cost} {'; '.join(record['doubts'])}\n")


def _alone(results: Results, out: Out, wall: Scenario, number: int) -> None:
    words = [str(wall.interval), str(wall.seconds), str(wall.parts[0].connections)]
    argv = [sys.executable, "-m", "benchmarks.direct", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    mean = round(float(done.stdout), 2)
    results.add(
        "scale", scenario="wall", broker="none", gateways=0, workers=0, round=number, whole_mean_ms=mean, doubts=[]
    )
    out(f"wall, the engine alone, round {number}: {mean} ms\n")


class Stand:
    """The service with a broker, in a shape, for one run. `seen` is what was looked at besides what `run` measures."""

    def __init__(self, broker: str, shape: Shape) -> None:
        self.seen: dict[str, Any] = {}
        self._shape = shape
        self._redis = Server(free_port()) if broker == "redis" else None
        self._memory = 0
        self._calls = Counter[str]()
        self._sleeps = Counter[str]()
        self._at = 0.0

    def ready(self) -> Ready:
        """What is to be run. Raises Unavailable."""
        commands = [] if self._redis is None else [self._redis.command()]
        behind = [] if self._redis is None else [sys.executable, "-m", "benchmarks.behind", str(self._redis.port)]
        settings = () if self._redis is None else (("LLM_CHAT_BROKER_URL", f"redis://127.0.0.1:{self._redis.port}/0"),)
        gateways, workers = (["--processes", str(count)] for count in self._shape)

        def start(port: int, interval: float) -> Commands:
            python = [*behind, sys.executable, "-m"]
            gateway = [*python, "gateway", "--port", str(port), *gateways, *QUIET]
            return [*commands, gateway, [*python, "worker", "--echo-interval", str(interval), *workers, *QUIET]]

        peer = Peer("ours", "gateways and workers, default settings", lambda: start, settings=settings)
        return Ready(peer, start)

    def before(self, servers: Servers) -> None:
        """All connections are there, and nothing is asked yet: what all cost at rest, for each second."""
        calls, used, at = self._count(), servers.snapshot().cpu, time.monotonic()
        time.sleep(REST)
        now = servers.snapshot().cpu
        took = time.monotonic() - at
        self.seen["rest_ms_s"] = {name: round((now[name] - used[name]) * 1000 / took, 2) for name in now}
        self.seen["rest_calls_s"] = round((self._count() - calls).total() / took, 1)
        self._memory, self._calls, self._sleeps = self._used(servers), self._count(), servers.sleeps()
        self._at = time.monotonic()

    def behind(self, servers: Servers) -> None:
        """The load has just ended."""
        took = time.monotonic() - self._at
        self.seen["calls_s"] = round((self._count() - self._calls).total() / took, 1)
        self.seen["sleeps_s"] = {name: round(n / took, 1) for name, n in (servers.sleeps() - self._sleeps).items()}
        self.seen["memory_grown"] = self._used(servers) - self._memory

    def _count(self) -> Counter[str]:
        return Counter() if self._redis is None else self._redis.calls()

    def _used(self, servers: Servers) -> int:
        """Bytes of the broker."""
        if self._redis is not None:
            return self._redis.memory()
        with suppress(KeyError):
            return servers.memory()["broker"]
        raise Unavailable("there is no broker")
