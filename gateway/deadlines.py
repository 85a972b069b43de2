"""Connections that must have done something in time: said what they want, or ended."""

import asyncio
from typing import Protocol


class Abortable(Protocol):
    """A connection that can be dropped. Compared by identity."""

    def abort(self) -> None:
        """Drop the connection at once."""
        ...


class Deadlines:
    """All that owe it, under one timer, which runs only while there are any.

    Every one gets the same time, so the order of arrival is the order of the deadlines.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout  # seconds
        self._deadlines: dict[Abortable, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, connection: object) -> bool:
        return connection in self._deadlines

    def add(self, connection: Abortable) -> None:
        """Its time begins now, unless it has begun before."""
        loop = asyncio.get_running_loop()
        self._deadlines.setdefault(connection, loop.time() + self._timeout)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._sweep)

    def discard(self, connection: Abortable) -> None:
        """It has done it, or has gone."""
        self._deadlines.pop(connection, None)
        if not self._deadlines and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        for connection, deadline in list(self._deadlines.items()):
            if deadline > now:
                self._timer = loop.call_at(deadline, self._sweep)
                return
            del self._deadlines[connection]
            connection.abort()
