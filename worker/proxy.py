"""Renewal on behalf of processes whose engine holds up their event loop: pure, the clock's readings are handed in."""

from collections.abc import Sequence


class Charge:
    """The leases of one process."""

    __slots__ = ("_renewed_at", "_until")

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._renewed_at = float("-inf")

    def holds(self, allowed: Sequence[tuple[int, float]], renewed: bool, now: float) -> None:
        """The process reports: leases in force, with the seconds for which each may be renewed."""
        self._until = {lease: now + seconds for lease, seconds in allowed}
        if renewed:
            self._renewed_at = now

    def due(self, now: float, every: float) -> list[int]:
        """The leases that are to be renewed now: none while the process does so itself at least `every` seconds."""
        if now - self._renewed_at < every:
            return []
        return [lease for lease, until in self._until.items() if until > now]
