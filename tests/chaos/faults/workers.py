"""A whole worker, supervisor and engine processes: nobody is left to report the death."""

import asyncio
import signal

from tests.chaos.faults.base import Fault, Occasion, at_work, pick
from tests.chaos.plan import Sort
from tests.chaos.stage import Stage

LANE = "engines"
LEASE = 3.0  # seconds, the service's own default
OVER = 1.5  # seconds that a zombie sleeps longer than its lease


class WorkerKill(Fault):
    """Its leases run out."""

    sort = Sort("worker_kill", LANE, 3.0, False)
    words = "kill -9 of a whole worker, its supervisor included"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        worker = pick(stage.cluster.workers, occasion.stroke)
        async with worker.busy:
            await at_work(stage, worker)
            occasion.struck(worker, worker.signal_all(signal.SIGKILL, "killed"))
            await worker.ended()
            await worker.restart()


class WorkerFreeze(Fault):
    """Thought dead, it comes back and writes on."""

    sort = Sort("worker_freeze", LANE, LEASE + OVER + 0.5, False)
    words = f"SIGSTOP of a worker for {LEASE + OVER} s, longer than its lease, then SIGCONT (the zombie)"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        worker = pick(stage.cluster.workers, occasion.stroke)
        async with worker.busy:
            await at_work(stage, worker)
            try:
                occasion.struck(worker, worker.signal_all(signal.SIGSTOP, "stopped"))
                await asyncio.sleep(LEASE + OVER)
            finally:
                worker.signal_all(signal.SIGCONT, "continued")
