"""The bounds within which a broker works."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Seconds and bytes, unless the name says otherwise."""

    queue: int = 10_000  # messages that may wait for a worker
    queue_timeout: float = 600.0  # after which a waiting one ends `expired`
    lease: float = 3.0
    cancel_grace: float = 1.0  # for a worker to answer a cancel before the broker ends the reply itself
    max_attempts: int = 20  # crashes and expiries of one generation in all
    fruitless_attempts: int = 3  # in a row, none of which added a piece beyond the furthest
    retention: float = 900.0  # how long a reply is kept after its terminal
    session_bytes: int = 4 << 20  # kept replies of one session
    kept_bytes: int = 512 << 20  # ended replies of all sessions, roughly as they lie in memory
    page_bytes: int = 64 << 10  # of the page that comes with attach
    undrained_bytes: int = 64 << 20  # for one gateway process
    silence: float = 10.0  # after which a gateway that does not drain loses its subscriptions
    spent_tokens: int = 100_000  # one-time tokens that are remembered at the same time
    early_cancels: int = 64  # ids of one session whose cancel came before their submit

    @property
    def tick(self) -> float:
        """How often `BrokerState.tick` is to be called while anything is under way."""
        return min(0.25, self.lease / 12)

    @property
    def idle_tick(self) -> float:
        """The same while nothing is: less than the third of a lease that counts as a pause (G6), so that a lease given
        meanwhile is not begun anew at the next tick."""
        return min(1.0, self.tick * 3)
