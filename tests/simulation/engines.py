"""Engines whose every word can be foretold: what a reply must be is known before it is asked for."""

from collections.abc import Callable
from itertools import count

from shared.clock import Clock
from worker.engines.base import Job, Sink
from worker.engines.echo import Chunks, EchoEngine, Words

INTERVALS = (0.0, 0.005, 0.03, 0.1, 0.1, 0.4)  # seconds between two pieces
LONGEST = 4.0  # seconds that a reply may take
KINDS = ("chunks", "chunks", "words", "restarting")


class Restarting(EchoEngine):
    """An engine that cannot continue. It says which attempt speaks, so that two are never taken for one."""

    continues = False

    def __init__(self, number: Callable[[], int], chunks: int, interval: float, clock: Clock) -> None:
        super().__init__(lambda message, chunks: Chunks(f"{message} by {number()}", chunks), chunks, interval, clock)

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """From the first piece."""
        assert (job.text, job.pieces) == ("", 0)
        return super().start(job, sink)


class Engines:
    """Makes the engine of each worker process; all are of one kind."""

    def __init__(self, kind: str, chunks: int, interval: float) -> None:
        pieces = 3 if kind == "words" else 1  # of a chunk
        self.kind = kind
        self.chunks = min(chunks, max(1, int(LONGEST / interval / pieces))) if interval else chunks
        self.interval = interval
        self._numbers = count()

    def make(self, clock: Clock) -> EchoEngine:
        """One for a process."""
        if self.kind == "restarting":
            return Restarting(lambda: next(self._numbers), self.chunks, self.interval, clock)
        return EchoEngine(Words if self.kind == "words" else Chunks, self.chunks, self.interval, clock)

    def foretold(self, message: str, text: str) -> str:
        """The whole reply to `message` that `text` is, or begins."""
        if self.kind == "restarting":
            first = text.partition("\n")[0]
            number = first.rpartition(" by ")[2]
            message = f"{message} by {number if number.isdecimal() else '(nobody)'}"
        return "\n".join(f"chunk {number + 1}: {message}" for number in range(self.chunks))
