"""Pings for all connections by one timer, spread over time."""

import asyncio
from typing import Protocol

_SPOKES_PER_SECOND = 3.2
_MOST_SPOKES = 64  # else thousands would be pinged in one go


class Beating(Protocol):
    """A connection that is to be pinged."""

    def beat(self) -> None:
        """An interval is over since the last beat."""
        ...


Spoke = set[Beating]


class Keepalive:
    """A wheel that turns once per interval (seconds), with the connections on its spokes. It stands still while there
    are none."""

    def __init__(self, interval: float) -> None:
        spokes = max(2, min(_MOST_SPOKES, round(interval * _SPOKES_PER_SECOND)))
        self._spokes: list[Spoke] = [set() for _ in range(spokes)]
        self._step = interval / spokes
        self._hand = 0  # the spoke whose turn it was last
        self._next = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Beating) -> Spoke:
        """Its first beat comes after half an interval to a whole one: who comes together is not pinged together. What
        is returned is wanted by `discard`."""
        spokes = len(self._spokes)
        self._next = (self._next + 1) % (spokes // 2)
        spoke = self._spokes[(self._hand - self._next) % spokes]
        spoke.add(member)
        self._count += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._step, self._turn)
        return spoke

    def discard(self, member: Beating, spoke: Spoke) -> None:
        """No more beats."""
        spoke.remove(member)
        self._count -= 1
        if not self._count and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._step, self._turn)
        self._hand = (self._hand + 1) % len(self._spokes)
        for member in tuple(self._spokes[self._hand]):
            member.beat()
