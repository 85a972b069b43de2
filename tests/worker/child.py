"""An engine process with an engine for tests. Started by a Supervisor as `worker.process` would be.

Its engine does what the message says: `block N` holds up the event loop for N seconds before its only piece, `die`
ends the process, anything else is said back.
"""

import math
import os
import sys
import time
from collections.abc import Callable

from shared.settings import Settings
from worker import process
from worker.engines.base import Engine, Job, Sink


class Obedient:
    """See the module. `limit`: seconds that it may take until its first piece."""

    model = "obedient"
    continues = False
    contextual = False
    blocks = True
    slots = 8
    next_piece_limit = math.inf

    def __init__(self, limit: float) -> None:
        self.first_piece_limit = limit

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """See Engine."""
        words = job.request.turns[-1].content.split()
        if words[0] == "die":
            os._exit(9)
        if words[0] == "block":
            time.sleep(float(words[1]))
        sink.piece(" ".join(words))
        sink.finish("stop")
        return lambda: None

    async def close(self) -> None:
        """See Engine."""


def open_engine(settings: Settings) -> Engine:
    """The limit travels as the model's name."""
    return Obedient(float(settings.openai.model or "inf"))


if __name__ == "__main__":
    vars(process)["open_engine"] = open_engine
    sys.exit(process.main(sys.argv[1:]))
