"""What goes wrong, and when: a plan that follows from the seed alone."""

from random import Random
from typing import NamedTuple

CALM = 0.12  # share of the seeds in which nothing goes wrong
HOUR_MS = 3_600_000


class Fault(NamedTuple):
    """`at`: seconds from the beginning; `callbacks`: how many more of its victim's it lets pass. `victim`: a number
    that picks it among those who are there. `seconds`: how long it lasts, where it does."""

    at: float
    what: str
    victim: int
    callbacks: int
    seconds: float


# How often each is chosen, and how long it lasts: of two bounds, in seconds.
KINDS: dict[str, tuple[int, float, float]] = {
    "kill_worker": (5, 0.0, 0.0),  # buried at once
    "kill_worker_quietly": (3, 0.0, 0.0),  # never buried: its leases run out
    "freeze_worker": (4, 0.3, 8.0),
    "stop_worker": (3, 0.0, 0.0),
    "kill_all_workers": (1, 0.0, 0.0),
    "kill_every_worker": (2, 0.3, 1.5),  # whoever comes, but for those who run alone
    "kill_gateway": (3, 0.0, 0.0),
    "stop_gateway": (2, 0.0, 0.0),
    "freeze_gateway": (2, 0.3, 13.0),
    "cut_worker": (6, 0.0, 0.0),
    "cut_gateway": (5, 0.0, 0.0),
    "cut_sockets": (2, 0.0, 0.0),
    "pause_broker": (3, 0.2, 7.0),
    "kill_broker": (4, 0.0, 0.0),
    "set_clock": (1, 0.0, 0.0),
}


def plan(chance: Random, span: float) -> list[Fault]:
    """None at all now and then; they may strike together."""
    if chance.random() < CALM:
        return []
    names, weights = list(KINDS), [weight for weight, _, _ in KINDS.values()]
    faults = []
    for what in chance.choices(names, weights, k=chance.randint(1, 12)):
        _, least, most = KINDS[what]
        faults.append(
            Fault(
                chance.uniform(0.2, span), what, chance.randrange(60), chance.randrange(12), chance.uniform(least, most)
            )
        )
    return sorted(faults)
