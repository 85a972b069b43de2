"""The engine that needs no model: `chunk 1: {message}`, `chunk 2: {message}` and so on, at a given pace.

It goes on behind any piece exactly as if it had never been interrupted: piece n depends on n and the message alone.
"""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Protocol

from shared.clock import Clock, SystemClock
from shared.request import GenerationRequest
from shared.settings import Settings
from worker.engines.base import Job, Sink
from worker.engines.wheel import Wheel

SLOTS = 10_000
SLICE = 200  # pieces given in one go where no pace is set
LEAST_INTERVAL = 0.0001  # seconds between two pieces of one reply, where a pace is set
_WORD = re.compile(r"\s*\S+(?:\s+\Z)?")


class Script(Protocol):
    """The pieces of a reply. Joined they give `chunk 1: M\\nchunk 2: M\\n...`, however they are cut."""

    length: int

    def piece(self, number: int) -> str:
        """Piece `number`, counted from 0."""
        ...


class Chunks:
    """A chunk a piece. Chunks from the second on begin with a newline."""

    __slots__ = ("_behind", "length")

    def __init__(self, message: str, chunks: int) -> None:
        self.length = chunks
        self._behind = f": {message}"

    def piece(self, number: int) -> str:
        """See Script."""
        return f"\nchunk {number + 1}{self._behind}" if number else f"chunk 1{self._behind}"


class Words:
    """The same text word by word; white space goes with the word behind it, at a chunk's end with the last one."""

    __slots__ = ("_chunk", "_chunks", "_per_chunk", "_words", "length")

    def __init__(self, message: str, chunks: int) -> None:
        self._chunks = Chunks(message, chunks)
        self._chunk = 0
        self._words: list[str] = _WORD.findall(self._chunks.piece(0))
        self._per_chunk = len(self._words)
        self.length = chunks * self._per_chunk

    def piece(self, number: int) -> str:
        """See Script."""
        chunk, word = divmod(number, self._per_chunk)
        if chunk != self._chunk:
            self._chunk, self._words = chunk, _WORD.findall(self._chunks.piece(chunk))
        return self._words[word]


class Stream:
    """One reply on its way."""

    __slots__ = ("_next", "_script", "_sink", "live")

    def __init__(self, script: Script, first: int, sink: Sink) -> None:
        self._script = script
        self._next = first
        self._sink = sink
        self.live = True

    def step(self) -> bool:
        """Give the next piece, with the last one the end. Returns whether there is more to give."""
        if not self.live:
            return False
        if self._sink.congested:
            return True
        number, script = self._next, self._script
        if number < script.length:
            self._sink.piece(script.piece(number))
            self._next = number = number + 1
        if number >= script.length:
            self._sink.finish("stop")
            self.live = False
        return self.live

    async def pour(self) -> None:
        """Give all that is left as fast as it is taken, in slices: others want the event loop, too."""
        while self.live:
            await self._sink.relief()
            self.step_many(SLICE)
            await asyncio.sleep(0)

    def step_many(self, steps: int) -> None:
        """So many steps, but no more than are wanted."""
        while steps and not self._sink.congested and self.step():
            steps -= 1

    def abort(self) -> None:
        """Give nothing more."""
        self.live = False


class EchoEngine:
    """See worker.engines.base.Engine. `interval`: seconds between two pieces (0: no pace)."""

    model = "echo"
    continues = True
    contextual = False
    blocks = False
    slots = SLOTS
    first_piece_limit = math.inf
    next_piece_limit = math.inf

    def __init__(self, make_script: Callable[[str, int], Script], chunks: int, interval: float, clock: Clock) -> None:
        self._make_script = make_script
        self._chunks = chunks
        self.wheel = Wheel(max(interval, LEAST_INTERVAL), clock) if interval > 0 else None
        self._pouring: set[asyncio.Task[None]] = set()

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """The first piece at once, the others at their time."""
        stream = Stream(self._make_script(_last_message(job.request), self._chunks), job.pieces, sink)
        if self.wheel is None:
            stream.step_many(SLICE)
            if stream.live:
                self._pour(stream)
        elif stream.step():
            self.wheel.add(stream.step)
        return stream.abort

    def _pour(self, stream: Stream) -> None:
        task = asyncio.get_running_loop().create_task(stream.pour())
        self._pouring.add(task)
        task.add_done_callback(self._pouring.discard)

    async def close(self) -> None:
        """End what still runs."""
        if self.wheel is not None:
            self.wheel.stop()
        for task in self._pouring:
            task.cancel()
        await asyncio.gather(*self._pouring, return_exceptions=True)


def open_engine(settings: Settings) -> EchoEngine:
    """The engine as the settings want it."""
    echo = settings.echo
    if echo.words_per_second > 0:
        return EchoEngine(Words, echo.chunks, 1 / echo.words_per_second, SystemClock())
    return EchoEngine(Chunks, echo.chunks, echo.interval, SystemClock())


def _last_message(request: GenerationRequest) -> str:
    for turn in reversed(request.turns):
        if turn.role == "user":
            return turn.content
    return ""
