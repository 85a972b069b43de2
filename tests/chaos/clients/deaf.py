"""A client that can stop reading, with replies that are too long to wait in buffers on the way."""

import asyncio
from typing import Any

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.clients.line import Line

PADDING = 6_000  # bytes of each piece
DEAD = 6  # seconds without any frame, not even an answer to our pings, after which a connection is half-open


class DeafClient(JsonClient):
    """Reads while `hearing` is set."""

    kind = "deaf"
    deaf = True

    def __init__(self, hall: Hall, number: int, habits: Habits = Habits(padding=PADDING)) -> None:  # noqa: B008
        super().__init__(hall, number, habits)
        self.hearing = asyncio.Event()
        self.hearing.set()
        self._silence = 0

    async def hear(self, line: Line, seconds: float) -> dict[str, Any]:
        """See JsonClient."""
        if not self.hearing.is_set():
            await self.hearing.wait()
            self._silence = 0
        frame = await super().hear(line, seconds)
        self._silence = 0
        return frame

    async def silent(self, line: Line) -> None:
        """See JsonClient. Pings of the protocol's own, which are answered in order with all that waits to be read."""
        self._silence += 1
        if self._silence >= DEAD:
            raise ConnectionError("half-open")
        await line.say({"type": "ping"})
