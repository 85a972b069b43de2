"""When to flush: pure, the clock's readings are handed in.

A flush goes out at once where the last one is long enough ago, so that an idle system adds no wait. How long that is
follows from what the last flushes cost: a loaded system batches more. A flush groups pieces, it never merges them.
"""

# Seconds between the beginnings of two flushes, at most. Larger batches are dearer, not cheaper: what they touch does
# not fit the caches (measured at 2,000 busy sessions: 15 ms costs 10 % more CPU, twice the time to the first piece).
CAP = 0.003
URGENT_CAP = 0.003  # the same where a reader waits for the first piece of a reply
PER_COST = 4.0  # spacing, in costs of one flush
URGENT_PER_COST = 1.0
MEMORY = 0.7  # share of the past in the running mean of the cost


class Pacer:
    """The spacing of flushes, or of any other round trips to the broker that are worth grouping. Seconds throughout."""

    __slots__ = ("_began", "_cap", "_cost", "_least", "_urgent_cap")

    def __init__(self, cap: float = CAP, urgent_cap: float = URGENT_CAP, least: float = 0.0) -> None:
        self._cap = cap
        self._least = least  # where nobody waits for a first piece
        self._urgent_cap = urgent_cap
        self._cost = 0.0
        self._began = float("-inf")

    def began(self, now: float) -> None:
        """A flush goes out."""
        self._began = now

    def answered(self, now: float) -> None:
        """Its answer is here: the round trip is what it cost."""
        self._cost = MEMORY * self._cost + (1 - MEMORY) * (now - self._began)

    def wait(self, now: float, *, urgent: bool) -> float:
        """How long the next flush is to wait from now on; 0: not at all."""
        if urgent:
            spacing = min(self._urgent_cap, URGENT_PER_COST * self._cost)
        else:
            spacing = max(self._least, min(self._cap, PER_COST * self._cost))
        return max(0.0, self._began + spacing - now)
