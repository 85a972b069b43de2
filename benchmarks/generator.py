"""Load generators as processes: started, told to begin, asked what came of it; several count as one."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.histogram import Histogram
from benchmarks.places import HERE, go_binary
from benchmarks.verdict import FAULTS, bottleneck

MOST = 15_000  # connections of one process; the limit on descriptors is 20,000 on many machines
HISTOGRAMS = ("handshake", "first", "between", "whole", "lag")


class Part(NamedTuple):
    """What one generator does; `options` are its own (load/main.go), without the dash, as written there."""

    connections: int
    options: tuple[tuple[str, str], ...] = ()

    def has(self, name: str) -> bool:
        """Whether an option is given."""
        return any(name == given for given, _ in self.options)

    def split(self) -> "list[Part]":
        """So that no process holds too many connections; each takes its share of the rate and the messages."""
        count = -(-self.connections // MOST)
        if count == 1:
            return [self]
        shares = [self.connections // count + (i < self.connections % count) for i in range(count)]
        return [Part(share, tuple(self._portion(share, *option) for option in self.options)) for share in shares]

    def _portion(self, share: int, name: str, value: str) -> tuple[str, str]:
        if name in ("rate", "connect-rate"):
            return name, str(float(value) * share / self.connections)
        if name == "messages":
            return name, str(int(value) * share // self.connections)
        return name, value


class Failed(Exception):
    """A generator ended before its time; the message is what it said."""


class Generator:
    """One process. Its answers are dictionaries as load/report.go makes them."""

    def __init__(self, address: str, path: str, dialect: str, part: Part, seed: int = 1) -> None:
        options = [word for name, value in part.options for word in (f"-{name}={value}",)]
        common = ["-address", address, "-path", path, "-dialect", dialect, "-seed", str(seed)]
        argv = [go_binary(HERE / "load"), *common, "-connections", str(part.connections), *options]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def connected(self) -> dict[str, Any]:
        """Wait until all connections are open, or have failed. Raises Failed."""
        return self._answer()

    def begin(self) -> None:
        """The load."""
        self._say()

    def measured(self) -> dict[str, Any]:
        """Wait for the end of the load. Raises Failed."""
        return self._answer()

    def close(self) -> None:
        """Close the connections; whatever state it is in."""
        try:
            self._process.communicate("\n\n", timeout=10)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            self._process.kill()
            self._process.communicate()

    def _say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._process.stderr.read().strip()[-400:] or "the load generator ended")
        found: dict[str, Any] = json.loads(line)
        return found


class Load:
    """Several generators side by side, each with its part."""

    def __init__(self, address: str, path: str, dialect: str, parts: Sequence[Part], seed: int = 1) -> None:
        split = [piece for part in parts for piece in part.split()]
        self._stalled = [piece.has("stalled") for piece in split]
        self._generators = [
            Generator(address, path, dialect, piece, seed + number) for number, piece in enumerate(split)
        ]

    def connected(self) -> dict[str, Any]:
        """See Generator.connected; of all together."""
        return merged([one.connected() for one in self._generators])

    def measured(self) -> dict[str, Any]:
        """Let all begin, and wait for all. Raises Failed."""
        for one in self._generators:
            one.begin()
        return merged([one.measured() for one in self._generators], self._stalled)

    def pids(self) -> list[int]:
        """Of the processes."""
        return [one.pid for one in self._generators]

    def close(self) -> None:
        """See Generator.close."""
        for one in self._generators:
            one.close()


def merged(answers: Sequence[dict[str, Any]], stalled: Sequence[bool] = ()) -> dict[str, Any]:
    """Several answers of one phase as one. What a reader that never reads finds blocked is no fault."""
    whole: dict[str, Any] = {name: Histogram() for name in HISTOGRAMS}
    whole |= {"faults": dict.fromkeys(FAULTS, 0), "samples": [], "limits": []}
    for number, answer in enumerate(answers):
        faults = dict(answer.get("faults") or {"refused": answer.get("refused", 0), "samples": answer["samples"]})
        if number < len(stalled) and stalled[number]:
            faults |= {"blocked": 0}
        for kind in FAULTS:
            whole["faults"][kind] += faults.get(kind, 0)
        whole["samples"] += faults["samples"] or []
        for name in HISTOGRAMS:
            whole[name] += Histogram(answer.get(name, ()))
        for name in ("open", "sent", "replies", "chunks", "chunks_in_time", "cpu_s", "whole_sum_s"):
            whole[name] = whole.get(name, 0) + answer.get(name, 0)
        for name in ("connect_s", "wall_s", "busy_wall_s"):
            whole[name] = max(whole.get(name, 0.0), answer.get(name, 0.0))
        if "cpu_s" in answer and (why := _limit(answer)):
            whole["limits"].append(why)
    return whole


def _limit(answer: dict[str, Any]) -> str | None:
    wall = max(answer["busy_wall_s"], 1e-9)
    lag = Histogram(answer["lag"]).percentile(0.99) or 0
    return bottleneck(answer["cpu_s"] / wall, lag / 1000, answer["waited_s"] / wall)
