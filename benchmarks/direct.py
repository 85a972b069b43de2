"""`python -m benchmarks.direct INTERVAL SECONDS JOBS`: the echo engine alone, in one process without gateway, broker or
queue; prints the mean time of a reply in milliseconds. What the service adds to it is the price of its path."""

import asyncio
import sys
import time

import uvloop

from benchmarks.scenarios import CHUNKS
from shared.clock import SystemClock
from shared.errors import ChatError
from shared.messages import Usage
from shared.request import GenerationRequest, Turn
from worker.engines.base import Engine, Job
from worker.engines.echo import Chunks, EchoEngine


class Ended:
    """A sink that only waits for the end."""

    congested = False

    def __init__(self) -> None:
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def relief(self) -> None:
        """Never congested."""

    def prompt(self, tokens: int) -> None:
        """Nobody counts."""

    def restart(self) -> None:
        """Nothing stands."""

    def piece(self, text: str, tokens: int = 1) -> None:
        """Nobody reads it."""

    def finish(self, reason: str, usage: Usage | None = None) -> None:
        """The last one was given."""
        self.end.set_result(None)

    def fail(self, error: ChatError) -> None:
        """An echo does not."""
        self.end.set_exception(error)


async def measure(interval: float, seconds: float, jobs: int) -> float:
    """The mean time of a reply in milliseconds, where so many jobs run, each again and again."""
    engine = EchoEngine(Chunks, CHUNKS, interval, SystemClock())
    ends = time.monotonic() + seconds
    offsets = (0.8 * number / jobs for number in range(jobs))
    times = [took for some in await asyncio.gather(*(_repeat(engine, ends, wait) for wait in offsets)) for took in some]
    await engine.close()
    return sum(times) / len(times) * 1000


async def _repeat(engine: Engine, ends: float, wait: float) -> list[float]:
    await asyncio.sleep(wait)
    job, times = Job(GenerationRequest((Turn("user", "x" * 32),))), []
    while (begun := time.monotonic()) < ends:
        sink = Ended()
        engine.start(job, sink)
        await sink.end
        times.append(time.monotonic() - begun)
    return times


if __name__ == "__main__":
    sys.stdout.write(f"{uvloop.run(measure(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))}\n")
