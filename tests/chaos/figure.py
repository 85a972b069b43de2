"""A figure that a run has to show."""

from typing import NamedTuple


class Figure(NamedTuple):
    """`words` say what was measured, with the number in them, and what it must be; `holds` whether it is that."""

    name: str
    words: str
    holds: bool


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so much of them (0 to 1) do not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
