"""Pacing for thousands of streams with one timer."""

import asyncio
import heapq
import math
from collections.abc import Callable

from shared.clock import Clock

GRAIN = 0.005  # seconds: streams whose times are as near as that go together
LEAST_GRAIN = 0.001  # what the event loop's timers can tell apart
GRAINS = 10  # an interval has at least as many, where they are not too small


class Wheel:
    """Calls steps again and again, `interval` seconds apart and without drift, until they return False.

    Time is cut into grains; what is due within the same one goes together, never early. A loop that was held up makes
    good for it. The timer rests while nothing is due.
    """

    def __init__(self, interval: float, clock: Clock) -> None:
        self._grains = max(1, math.ceil(interval / GRAIN), min(GRAINS, int(interval / LEAST_GRAIN)))
        self.grain = interval / self._grains
        self._clock = clock
        self._due: dict[int, list[Callable[[], bool]]] = {}
        self._order: list[int] = []  # the keys of `due`, as a heap
        self.timer: asyncio.TimerHandle | None = None

    def add(self, step: Callable[[], bool]) -> None:
        """First call in one interval from now."""
        self._put(math.ceil(self._clock.now() / self.grain) + self._grains, [step])
        if self.timer is None:
            self._arm()

    def turn(self) -> None:
        """Call what is due. The timer does that; so may a test."""
        now = self._clock.now() / self.grain
        try:
            while self._order and self._order[0] <= now:
                moment = heapq.heappop(self._order)
                going = [step for step in self._due.pop(moment) if step()]
                if going:
                    self._put(moment + self._grains, going)
        finally:  # one that fails does not stop the others
            self._arm()

    def stop(self) -> None:
        """Call nothing any more."""
        self._due.clear()
        self._order.clear()
        self._arm()

    def _put(self, moment: int, steps: list[Callable[[], bool]]) -> None:
        if moment in self._due:
            self._due[moment] += steps
        else:
            self._due[moment] = steps
            heapq.heappush(self._order, moment)

    def _arm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self._order:
            wait = self._order[0] * self.grain - self._clock.now()
            self.timer = asyncio.get_running_loop().call_later(max(LEAST_GRAIN, wait), self.turn)
