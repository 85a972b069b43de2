"""All runs of a benchmark in turn: round by round, so that what the machine does meanwhile falls on all alike."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks.generator import Failed
from benchmarks.measuring import Ready, Record, run
from benchmarks.peers import OURS, PEERS, service
from benchmarks.places import ROOT, Unavailable
from benchmarks.results import Results
from benchmarks.scenarios import Scenario, curve
from benchmarks.servers import NotStarted

ALWAYS = ("ours", "go")
Out = Callable[[str], object]


class Deadline:
    """For the whole. A round is begun where the longest one so far would still fit."""

    def __init__(self, minutes: float | None) -> None:
        self._ends = time.monotonic() + minutes * 60 if minutes else float("inf")
        self._longest = 0.0

    def rounds(self, count: int) -> Iterable[int]:
        """The numbers of those that fit, from 1 on; the first one always does."""
        for number in range(1, count + 1):
            begun = time.monotonic()
            if number > 1 and begun + self._longest > self._ends:
                return
            yield number
            self._longest = max(self._longest, time.monotonic() - begun)


class Suite(NamedTuple):
    """`others`: the rounds in which peers besides ours and Go's take part. `again`: how
    often a run is repeated that is no result."""

    results: Results
    out: Out
    rounds: int
    others: int
    again: int
    deadline: Deadline

    def compare(self, scenarios: Sequence[Scenario], peers: Sequence[str] | None) -> None:
        """Each scenario with each of its peers, or of these."""
        prepared = self._prepare({name for one in scenarios for name in (*ALWAYS, *one.others)}, peers)
        for number in self.deadline.rounds(self.rounds):
            for scenario in scenarios:
                names = [*ALWAYS, *(scenario.others if number <= self.others else ())]
                for name in names if number % 2 else reversed(names):
                    if name in prepared:
                        self._run("run", prepared[name], scenario, number)
                if scenario.name == "wall":
                    self._engine(scenario, number)

    def curve(self, sizes: Sequence[int], processes: int) -> None:
        """The same service with more and more sessions; always with so many gateway processes."""
        start = service(processes)()
        for number in self.deadline.rounds(self.rounds):
            for size in sizes if number % 2 else reversed(sizes):
                self._run("curve", Ready(OURS, start), curve(size), number, connections=size, processes=processes)

    def _prepare(self, names: set[str], only: Sequence[str] | None) -> dict[str, Ready]:
        prepared = {}
        for name in sorted(names & set(only) if only else names):
            try:
                prepared[name] = Ready(PEERS[name], PEERS[name].prepare())
            except Unavailable as error:
                self.out(f"{name} is left out: {error}\n")
                self.results.add("skipped", peer=name, reason=str(error))
        return prepared

    def _run(self, kind: str, ready: Ready, scenario: Scenario, number: int, **more: Any) -> None:
        for again in range(self.again + 1):
            try:
                record = run(ready, scenario, seed=number)
            except (NotStarted, Failed) as error:
                record = {"doubts": [str(error)], "failed": True}
            if not record["doubts"] or again == self.again or record.get("failed"):
                break
            self.out(f"{scenario.name:12} {ready.peer.name:11} again: {record['doubts']}\n")
        self.results.add(kind, scenario=scenario.name, peer=ready.peer.name, round=number, **more, **record)
        self.out(f"{scenario.name:12} {ready.peer.name:11} round {number}: {_line(record)}\n")

    def _engine(self, scenario: Scenario, number: int) -> None:
        words = [str(scenario.interval), str(scenario.seconds), str(scenario.parts[0].connections)]
        argv = [sys.executable, "-m", "benchmarks.direct", *words]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
        mean = round(float(done.stdout), 2)
        self.results.add("run", scenario="wall", peer="engine", round=number, whole_mean_ms=mean, doubts=[])
        self.out(f"{scenario.name:12} engine      round {number}: reply {mean} ms\n")


def _line(record: Record) -> str:
    said = [
        f"{record['us']} us per chunk, {record['chunks_s']:,} chunks/s" if "us" in record else "",
        f"accept {record['accept_us']} us, {record['connect_s']} s" if "accept_us" in record else "",
        f"{record['chatted']['bytes']} bytes" if "chatted" in record else "",
        f"first p50 {record['first_ms']['p50']} p99 {record['first_ms']['p99']} ms" if record.get("first_ms") else "",
        f"handshake p99 {record['handshake_ms']['p99']} ms" if record.get("handshake_ms") else "",
        f"({'; '.join(record['doubts'])})" if record["doubts"] else "",
    ]
    return ", ".join(part for part in said if part)
