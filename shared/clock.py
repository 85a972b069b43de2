"""Time as a thing that is handed in, so that logic can be tested without waiting."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: one for durations, one for the calendar."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; its zero means nothing."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970. May jump: never subtract two of them."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as this machine believes."""
        return time.time_ns() // 1_000_000
