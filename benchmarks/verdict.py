"""Whether a run can be believed: the load generator must not have been what was measured, nor a neighbour."""

from collections.abc import Mapping

MOST_CPU = 0.85  # of the one processor that a generator can use
MOST_LAG_MS = 10.0  # p99
MOST_WAITING = 0.5  # of the time, ready to run and without a processor
MOST_FOREIGN = 0.15  # of one processor, spent by processes that are none of the run's
FAULTS = ("wrong", "missing", "doubled", "closed", "refused", "blocked")


def bottleneck(cpu_share: float, lag_p99_ms: float, waiting_share: float) -> str | None:
    """Why one generator may have held back the server, or stamped chunks late; None where it has not."""
    if cpu_share > MOST_CPU:
        return f"the load generator used {cpu_share:.0%} of a processor"
    if lag_p99_ms > MOST_LAG_MS:
        return f"the load generator was late by {lag_p99_ms:.1f} ms (p99)"
    if waiting_share > MOST_WAITING:
        return f"the load generator waited for a processor {waiting_share:.0%} of the time"
    return None


def disturbed(foreign_share: float) -> str | None:
    """Why the machine was not quiet enough; None where it was."""
    if foreign_share > MOST_FOREIGN:
        return f"other processes used {foreign_share:.0%} of a processor"
    return None


def faulty(faults: Mapping[str, int]) -> str | None:
    """What was wrong with the replies; None where every chunk was right."""
    found = [f"{faults[kind]} {kind}" for kind in FAULTS if faults.get(kind)]
    return ", ".join(found) or None
