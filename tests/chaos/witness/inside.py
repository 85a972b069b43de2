"""What only a process itself can count, told when it is asked by SIGUSR2: its tasks, and the blocks of memory that its
Python objects take when all garbage is collected."""

import asyncio
import gc
import signal
import sys
from types import FrameType

from tests.chaos.witness.tape import Tapes


def install(tapes: Tapes) -> None:
    """Listen for the question. Must be called in the main thread."""

    def tell(number: int, frame: FrameType | None) -> None:
        loop = asyncio._get_running_loop()
        tasks = len(asyncio.all_tasks(loop)) if loop is not None else 0
        gc.collect()
        tapes.of("witness").write("inside", tasks=tasks, blocks=sys.getallocatedblocks())

    signal.signal(signal.SIGUSR2, tell)
