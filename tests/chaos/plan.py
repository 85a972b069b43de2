"""When which fault strikes whom: decided by the seed alone, before anything runs."""

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

CALM_BEFORE = 2.0  # seconds of load before the first fault, so that there are replies to hit
CALM_AFTER = 1.0  # seconds of load behind the last one
BETWEEN = (0.3, 1.0)  # seconds from the end of a fault to the next one of its lane
MARGIN = 0.3  # seconds that others keep away from what is exclusive


class Sort(NamedTuple):
    """A fault as the plan sees it. `takes`: seconds. Faults of a lane never overlap, nor does one that is `exclusive`
    (it spoils what others would show) with any."""

    name: str
    lane: str
    takes: float
    exclusive: bool


class Stroke(NamedTuple):
    """One fault to be caused: `at` seconds from the beginning of the load, on victim `victim` of those that there are
    (0 to 999, taken modulo their number), on `share` of the connections."""

    number: int
    at: float
    name: str
    victim: int
    share: float


def make_plan(seed: int, seconds: float, sorts: Iterable[Sort]) -> list[Stroke]:
    """The strokes in the order of their moments. Every fault once, then again, as long as there is time; one for which
    there is none is left out."""
    chance = random.Random(seed)
    by_name = sorted(sorts)
    lanes = sorted({sort.lane for sort in by_name})
    lanes.sort(key=lambda lane: -any(sort.exclusive for sort in by_name if sort.lane == lane))
    taken: list[tuple[float, float]] = []
    found: list[tuple[float, str]] = []
    for lane in lanes:
        placed = _fill(chance, [sort for sort in by_name if sort.lane == lane], seconds - CALM_AFTER, taken)
        found += [(at, sort.name) for at, sort in placed]
        taken += [(at - MARGIN, at + sort.takes + MARGIN) for at, sort in placed if sort.exclusive]
    return [
        Stroke(number, at, name, chance.randrange(1000), round(chance.uniform(0.2, 0.5), 2))
        for number, (at, name) in enumerate(sorted(found), 1)
    ]


def _fill(
    chance: random.Random, sorts: Sequence[Sort], end: float, taken: Sequence[tuple[float, float]]
) -> list[tuple[float, Sort]]:
    placed: list[tuple[float, Sort]] = []
    now = CALM_BEFORE
    while True:
        fitted = False
        for sort in chance.sample(sorts, len(sorts)):
            at = _free_from(now, sort.takes, taken)
            if at + sort.takes <= end:
                placed.append((round(at, 2), sort))
                now = at + sort.takes + chance.uniform(*BETWEEN)
                fitted = True
        if not fitted:
            return placed


def _free_from(at: float, takes: float, taken: Sequence[tuple[float, float]]) -> float:
    """The first moment from `at` on at which nothing exclusive is in the way."""
    for begin, end in sorted(taken):
        if at < end and at + takes > begin:
            at = end
    return at
