"""Counts of values in buckets, as the load generator keeps them (load/histogram.go)."""

from collections import Counter
from collections.abc import Iterable

HALF = 64  # values below have a bucket each; above, each power of two has so many


class Histogram:
    """Of non-negative values; those of several generators can be added up."""

    def __init__(self, pairs: Iterable[Iterable[int]] = ()) -> None:
        self._counts: Counter[int] = Counter()
        for index, count in pairs:
            self._counts[index] += count

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram([*self.pairs(), *other.pairs()])

    def __len__(self) -> int:
        return self._counts.total()

    def pairs(self) -> list[tuple[int, int]]:
        """Each bucket that is not empty, with its count."""
        return sorted(self._counts.items())

    def percentile(self, share: float) -> float | None:
        """The value that so much of all (0 to 1) does not exceed, at most 1.6 % too high; None where there is
        nothing."""
        wanted = share * len(self)
        seen = 0
        for index, count in self.pairs():
            seen += count
            if seen >= wanted:
                return greatest(index)
        return None


def greatest(index: int) -> int:
    """The greatest value that falls into a bucket."""
    if index < HALF:
        return index
    shift = index // HALF - 1
    return ((index % HALF + HALF + 1) << shift) - 1
