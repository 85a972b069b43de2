"""A sink that keeps what an engine says."""

import asyncio
from collections.abc import Callable
from typing import Literal

from shared.errors import ChatError
from shared.messages import Usage
from worker.engines.base import Engine, Job


class RecordingSink:
    """A `worker.engines.base.Sink`. It takes what comes, also after the end: tests look for that."""

    def __init__(self, room: int | None = None) -> None:
        self.pieces: list[str] = []
        self.room = room  # so many pieces make it congested
        self.tokens = 0
        self.restarts = 0
        self.prompts: list[int] = []
        self.ends: list[tuple[str, Usage | None] | ChatError] = []
        self.congested = False
        self.abort: Callable[[], None] = lambda: None
        self._news = asyncio.Event()

    def run(self, engine: Engine, job: Job) -> "RecordingSink":
        """Start the engine on it."""
        self.abort = engine.start(job, self)
        return self

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)

    def relax(self) -> None:
        """No longer congested, and never again."""
        self.congested, self.room = False, None
        self._news.set()

    async def end(self) -> tuple[str, Usage | None] | ChatError:
        """How it ended, once it has."""
        await self._until(lambda: bool(self.ends))
        return self.ends[0]

    async def enough(self, pieces: int) -> None:
        """Return when there are so many pieces."""
        await self._until(lambda: len(self.pieces) >= pieces)

    # --- Sink --------------------------------------------------------------------------------------------------------

    async def relief(self) -> None:
        """See Sink."""
        await self._until(lambda: not self.congested)

    def prompt(self, tokens: int) -> None:
        """See Sink."""
        self.prompts.append(tokens)

    def restart(self) -> None:
        """See Sink."""
        self.restarts += 1

    def piece(self, text: str, tokens: int = 1) -> None:
        """See Sink."""
        self.pieces.append(text)
        self.tokens += tokens
        self.congested = self.congested or len(self.pieces) == self.room
        self._news.set()

    def finish(self, reason: Literal["stop", "length"], usage: Usage | None = None) -> None:
        """See Sink."""
        self.ends.append((reason, usage))
        self._news.set()

    def fail(self, error: ChatError) -> None:
        """See Sink."""
        self.ends.append(error)
        self._news.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()
