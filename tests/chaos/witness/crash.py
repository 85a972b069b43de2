"""An engine process that kills itself at a moment which a signal from outside would hit only by chance.

CHAOS_CRASH=point[:n]: at its n-th occasion each. A file `crash` in CHAOS_DIRECTORY with the text `point n`: the same,
for the first process that gets there, which takes the file away (it becomes `crash.<pid>`).
"""

import os
import signal
from collections import Counter
from typing import Any

from tests.chaos.witness.hooks import Patches
from tests.chaos.witness.tape import Tapes
from tests.chaos.witness.worker import attempt_of

POINTS = (
    "claimed",  # the lease is taken, the engine not begun
    "before_first",  # the engine has begun, nothing is appended
    "terminal_stored",  # the broker has said that it has the terminal, the worker has not heard it
)


def parse(text: str) -> tuple[str, int]:
    """Point and number of occasions. Raises ValueError."""
    point, _, count = text.replace(":", " ").strip().partition(" ")
    if point not in POINTS:
        raise ValueError(f"no crash point is called {point!r}")
    return point, int(count or 1)


def install(patches: Patches, tapes: Tapes, wanted: str) -> None:
    """Watch for the points. Raises ValueError for one that does not exist."""
    crasher = Crasher(tapes, parse(wanted) if wanted else None)

    def patch_runner(module: Any) -> None:
        claim = module.Runner._claim

        def claiming(runner: Any, leases: Any) -> None:
            if leases and not runner._draining:
                crasher.occasion("claimed", leases[0])
            claim(runner, leases)

        module.Runner._claim = claiming

    def patch_run(module: Any) -> None:
        begin = module.Run.begin

        def beginning(run: Any) -> None:
            begin(run)
            if not run.lease.visible:
                crasher.occasion("before_first", run.lease)

        module.Run.begin = beginning

    def patch_flusher(module: Any) -> None:
        answered = module.Flusher._answered

        def answering(flusher: Any, answer: Any) -> None:
            if not answer.cancelled() and answer.exception() is None:
                refused = {refusal.place for refusal in answer.result()}
                for place, (run, flush) in enumerate(zip(flusher._flying, flusher._flushes, strict=True)):
                    if flush.terminal and place not in refused:
                        crasher.occasion("terminal_stored", run.lease)
            answered(flusher, answer)

        module.Flusher._answered = answering

    patches.add("worker.runner", patch_runner)
    patches.add("worker.run", patch_run)
    patches.add("worker.flusher", patch_flusher)


class Crasher:
    """Counts occasions; `wanted` is what the environment says."""

    def __init__(self, tapes: Tapes, wanted: tuple[str, int] | None) -> None:
        self._tapes = tapes
        self._wanted = wanted
        self._path = tapes.directory / "crash"
        self._counts: Counter[str] = Counter()

    def occasion(self, point: str, lease: Any) -> None:
        """This process is at a point, with a lease: die, if it is time."""
        if self._told_by_environment(point) or self._asked_by_file(point):
            self._die(point, lease)

    def _told_by_environment(self, point: str) -> bool:
        self._counts[point] += 1
        return self._wanted is not None and self._wanted[0] == point and self._counts[point] >= self._wanted[1]

    def _asked_by_file(self, point: str) -> bool:
        try:
            wanted, count = parse(self._path.read_text())
        except (OSError, ValueError):  # not there, or not written out yet
            return False
        if wanted != point:
            return False
        self._counts[f"{point} by file"] += 1
        if self._counts[f"{point} by file"] < count:
            return False
        try:
            self._path.rename(self._path.with_name(f"crash.{os.getpid()}"))
        except OSError:  # another process was faster
            return False
        return True

    def _die(self, point: str, lease: Any) -> None:
        self._tapes.of("worker").write("crashed", point=point, **attempt_of(lease))
        os.kill(os.getpid(), signal.SIGKILL)
