"""kill -9 of one engine process. Its supervisor reports the death and starts the next one."""

import asyncio
import signal
import time
from pathlib import Path
from typing import ClassVar

from tests.chaos.faults.base import Fault, NotRun, Occasion, at_work, pick
from tests.chaos.plan import Sort
from tests.chaos.stage import Stage

LANE = "engines"
TAKES = 2.0
WAIT = 5.0  # seconds for some engine process to come to the point
LOOK = 0.005


class EngineKill(Fault):
    """In mid-stream: whatever it is doing just then."""

    sort = Sort("engine_kill", LANE, TAKES, False)
    words = "kill -9 of an engine process in mid-stream"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        worker = pick(stage.cluster.workers, occasion.stroke)
        await at_work(stage, worker)
        engines = worker.engines()
        if not engines:
            raise NotRun(f"{worker.name} has no engine process")
        engines[0].send_signal(signal.SIGKILL)
        occasion.begun("engine", worker.name, [engines[0].pid])
        stage.journal.write("process", role="engine", name=worker.name, pid=engines[0].pid, state="killed")


class CrashPoint(Fault):
    """At a moment which a signal from outside would hit only by chance: the engine process kills itself there."""

    point: ClassVar[str]

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        wish = stage.records / "crash"
        draft = wish.with_name("crash.wish")
        draft.write_text(f"{self.point} 1")
        draft.rename(wish)
        pid = await self._died(stage.records)
        if pid is None:
            wish.unlink(missing_ok=True)
            raise NotRun(f"no engine process came to the point {self.point} within {WAIT:.0f} s")
        name = stage.cluster.worker_of(pid)
        occasion.begun("engine", name, [pid])
        stage.journal.write("process", role="engine", name=name, pid=pid, state="killed")

    async def _died(self, records: Path) -> int | None:
        """The process that has taken the wish away."""
        deadline = time.monotonic() + WAIT
        while (pid := _taken_by(records)) is None and time.monotonic() < deadline:  # noqa: ASYNC110  # processes
            await asyncio.sleep(LOOK)
        return pid


def _taken_by(records: Path) -> int | None:
    for taken in records.glob("crash.[0-9]*"):
        taken.unlink()  # a later process may have the same id
        return int(taken.suffix[1:])
    return None


class EngineKillQueued(CrashPoint):
    """While the reply waits: it is leased, its engine has not begun."""

    sort = Sort("engine_kill_queued", LANE, TAKES, False)
    words = "kill -9 of an engine process that has just claimed a waiting message"
    point = "claimed"


class EngineKillBeforeFirst(CrashPoint):
    """The engine has begun, nothing is stored."""

    sort = Sort("engine_kill_before_first", LANE, TAKES, False)
    words = "kill -9 of an engine process before the first token is stored"
    point = "before_first"


class EngineKillTerminal(CrashPoint):
    """The terminal is stored, the worker does not know it yet."""

    sort = Sort("engine_kill_terminal", LANE, TAKES, False)
    words = "kill -9 of an engine process between storing the terminal and settling the lease"
    point = "terminal_stored"
