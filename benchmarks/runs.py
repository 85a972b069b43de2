"""Results, found by what was run; what is told of several runs."""

import statistics
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Record = dict[str, Any]


class Spread(NamedTuple):
    """The median of several runs, the least and the greatest of them, and how many they are."""

    median: float
    least: float
    greatest: float
    runs: int

    def text(self, digits: int = 2, unit: str = "") -> str:
        """As in `0.85 (0.81 to 0.90)`."""
        middle, least, greatest = (f"{value:,.{digits}f}" for value in self[:3])
        return f"{middle}{unit} ({least} to {greatest})" if self.runs > 1 else f"{middle}{unit}"


def spread(values: Iterable[float]) -> Spread | None:
    """None where there are no values."""
    some = list(values)
    return Spread(statistics.median(some), min(some), max(some), len(some)) if some else None


class Runs:
    """All lines of results. Runs that cannot be believed are passed over."""

    def __init__(self, lines: Iterable[Record]) -> None:
        self._lines = list(lines)

    def of(self, scenario: str, peer: str) -> dict[int, Record]:
        """By round."""
        return {
            line["round"]: line
            for line in self._lines
            if line["kind"] in ("run", "curve") and (line["scenario"], line["peer"]) == (scenario, peer)
            if not line["doubts"]
        }

    def doubtful(self) -> list[Record]:
        """Those that were passed over."""
        return [line for line in self._lines if line.get("doubts")]

    def lines(self, kind: str) -> list[Record]:
        """All of a kind, as they came."""
        return [line for line in self._lines if line["kind"] == kind]

    def each(self, scenario: str, peer: str, value: Callable[[Record], float | None]) -> Spread | None:
        """A value over all rounds."""
        found = (value(record) for record in self.of(scenario, peer).values())
        return spread(one for one in found if one is not None)

    def pairs(
        self, scenario: str, ours: str, other: str, value: Callable[[Record, Record], float | None]
    ) -> Spread | None:
        """A value of two peers in the same round, over all rounds that both have."""
        mine, its = self.of(scenario, ours), self.of(scenario, other)
        found = (value(mine[number], its[number]) for number in sorted(mine.keys() & its.keys()))
        return spread(one for one in found if one is not None)
