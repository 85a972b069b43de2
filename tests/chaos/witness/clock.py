"""CHAOS_WALL_OFFSET_MS=n: this process's calendar is n milliseconds off."""

from typing import Any

from tests.chaos.witness.hooks import Patches


def install(patches: Patches, offset: int) -> None:
    """Set off the wall clock that is handed to the service; durations stay true."""
    if not offset:
        return

    def patch(module: Any) -> None:
        original = module.SystemClock.wall_ms
        module.SystemClock.wall_ms = lambda clock: original(clock) + offset

    patches.add("shared.clock", patch)
