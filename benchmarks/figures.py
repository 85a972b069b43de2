"""What the service is meant to reach, and what it does reach."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from benchmarks.runs import Record, Runs, Spread, spread

HALF_OF_IDLE = ("gateway", "broker")  # whose memory an idle session is
MOST_SECONDS = 60.0
FEW, MANY = 1_000, 100_000  # sessions between which the curve must be flat


class Goal(NamedTuple):
    """`measure` gives None where it was not measured; `most`: whether the limit must not be passed, else reached."""

    words: str
    limit: float
    most: bool
    measure: Callable[[Runs], Spread | None]
    unit: str = ""
    digits: int = 2
    scenario: str = ""  # what a profile of it would be taken of

    def met(self, found: Spread) -> bool:
        """By the median."""
        return found.median <= self.limit if self.most else found.median >= self.limit

    def demand(self) -> str:
        """As in `at most 0.9`."""
        digits = 0 if self.limit == int(self.limit) else self.digits
        return f"{'at most' if self.most else 'at least'} {self.limit:,.{digits}f}{self.unit}"


def _ratio(scenario: str, field: str, other: str = "go", turned: bool = False) -> Callable[[Runs], Spread | None]:
    def value(ours: Record, its: Record) -> float:
        return float(its[field] / ours[field] if turned else ours[field] / its[field])

    return lambda runs: runs.pairs(scenario, "ours", other, value)


def _later(scenario: str, share: str) -> Callable[[Runs], Spread | None]:
    def value(ours: Record, its: Record) -> float:
        return float(ours["first_ms"][share] - its["first_ms"][share])

    return lambda runs: runs.pairs(scenario, "ours", "go", value)


def idle_bytes(when: str) -> Callable[[Record], float]:
    """Of gateway and broker together, per connection that is fresh or has chatted."""
    return lambda record: float(sum(record[when]["each"].get(name, 0) for name in HALF_OF_IDLE))


def _growth(runs: Runs) -> Spread | None:
    """Processor time per chunk at the most sessions over that at few, in the same round."""
    few, many = (runs.of(f"curve-{size}", "ours") for size in (FEW, MANY))
    return spread(many[number]["us"] / few[number]["us"] for number in sorted(few.keys() & many.keys()))


def _connecting(runs: Runs) -> Spread | None:
    return spread(line["connect_s"] for line in _many(runs) if "connect_s" in line)


def _inexact(runs: Runs) -> Spread | None:
    return spread(max(MANY - line.get("replies", 0), sum(line.get("faults", {}).values())) for line in _many(runs))


def _many(runs: Runs) -> Iterable[Record]:
    """Also of runs that are passed over otherwise: a fault is a fault."""
    return [line for line in runs.lines("curve") if line["connections"] == MANY]


GOALS = (
    Goal("CPU per chunk over Go's: 2,000 x 50 ms", 0.9, True, _ratio("paced", "us"), scenario="paced"),
    Goal("the same, burst 200 x 0 ms", 0.6, True, _ratio("burst", "us"), scenario="burst"),
    Goal("the same, 5,000 x 200 ms", 0.9, True, _ratio("wide", "us"), scenario="wide"),
    Goal("the same, 2,000 x 50 ms, 1 s of thinking", 0.8, True, _ratio("light", "us"), scenario="light"),
    Goal(
        "chunks per second at saturation (burst) over Go's", 1.2, False, _ratio("burst", "chunks_s"), scenario="burst"
    ),
    Goal("first chunk p50 at low load (calm), later than Go's", 5, True, _later("calm", "p50"), " ms", scenario="calm"),
    Goal(
        "first chunk p99 under load (tokens), later than Go's",
        0,
        True,
        _later("tokens", "p99"),
        " ms",
        scenario="tokens",
    ),
    Goal(
        "time of a reply through the broker over the engine's own",
        1.02,
        True,
        _ratio("wall", "whole_mean_ms", "engine"),
        digits=3,
        scenario="wall",
    ),
    Goal(
        "memory of an idle session that has chatted, gateway and broker",
        4096,
        True,
        lambda runs: runs.each("idle", "ours", idle_bytes("chatted")),
        " bytes",
        0,
    ),
    Goal("CPU per accepted connection over Go's", 1.5, True, _ratio("idle", "accept_us"), scenario="storm"),
    Goal("100,000 sessions: all connected", MOST_SECONDS, True, _connecting, " s", 1),
    Goal("100,000 sessions: replies that were not exact", 0, True, _inexact, "", 0),
    Goal("100,000 sessions: CPU per chunk over that at 1,000", 1.2, True, _growth),
    Goal(
        "CPU per chunk of the naive peer (burst) over ours",
        50,
        False,
        _ratio("burst", "us", "naive", turned=True),
        digits=0,
    ),
)


def unmet(runs: Runs) -> list[tuple[Goal, Spread]]:
    """The goals that were measured and missed, and by what."""
    return [(goal, found) for goal in GOALS if (found := goal.measure(runs)) and not goal.met(found)]
