"""Renewal on behalf of a process whose engine holds up its event loop: pure, the clock's readings are handed in."""

from collections.abc import Sequence

EVERY = 1 / 3  # of a lease: so much silence, and somebody else renews


class Holdings:
    """The leases of one process, as it last told. Seconds throughout."""

    __slots__ = ("_every", "_renewed_at", "_until")

    def __init__(self, lease: float) -> None:
        self._every = lease * EVERY
        self._until: dict[int, float] = {}
        self._renewed_at = float("-inf")

    def told(self, allowed: Sequence[tuple[int, float]], renewed: bool, now: float) -> None:
        """The leases in force, with the time for which each may be renewed. `renewed`: by the process itself, now."""
        self._until = {lease: now + seconds for lease, seconds in allowed}
        if renewed:
            self._renewed_at = now

    def due(self, now: float) -> list[int]:
        """The leases to renew now, which counts as done; none while the process does so itself."""
        if now - self._renewed_at < self._every:
            return []
        self._renewed_at = now
        return [lease for lease, until in self._until.items() if until > now]
