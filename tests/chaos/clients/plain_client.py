"""A client of the plain dialect: wscat with a memory. It cannot resume; what breaks off is broken off."""

import asyncio
import time

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import BACK, PATIENCE
from tests.chaos.clients.line import BROKEN, Line
from tests.chaos.records import Journal

IDLE = 1.0  # seconds of silence after which it looks at the clock


class PlainClient:
    """One message after the other, each on the connection that there is."""

    kind = "plain"

    def __init__(self, hall: Hall, number: int, pause: tuple[float, float] = (0.1, 0.6)) -> None:
        self.name = f"{self.kind}-{number}"
        self.hall = hall
        self.chance = hall.chance(self.name)
        self.journal = Journal(hall.records, f"client-{self.name}")
        self.line: Line | None = None
        self.door = number
        self._pause = pause
        self._messages = 0
        self._connections = 0

    async def run(self) -> None:
        """Talk until the run is over."""
        try:
            while not self.hall.over.is_set():
                try:
                    await self.ask()
                except BROKEN:
                    await self.hang_up("fault")
                await asyncio.sleep(self.chance.uniform(*self._pause))
        finally:
            await self.hang_up()
            self.journal.close()

    async def ask(self) -> None:
        """Send a message and read its reply. A failure ends the connection, so that nothing late is taken for something
        else. Raises what is in BROKEN."""
        line = await self._connected()
        self._messages += 1
        id = str(self._messages)
        content = f"{self.name}/{id}"
        began = time.monotonic()
        await line.say_text(id, content)
        for _ in range(self.hall.chunks):
            text = await self._next(line, began)
            if text is None:
                self._give_up(id, began)
            if text is None or text.startswith("error: "):
                await self.hang_up()
                return
            began = time.monotonic()
        self.journal.write("done", id=id)

    async def hang_up(self, by: str = "us") -> None:
        """End the connection, if there is one."""
        line, self.line = self.line, None
        if line is not None:
            await line.close(by)

    async def _connected(self) -> Line:
        if self.line is None:
            self._connections += 1
            self.door += 1
            await asyncio.sleep(self.chance.uniform(*BACK))
            self.line = await Line.open(
                self.hall, self.journal, self.name, self._connections, self.door, json=False, replay=False
            )
        return self.line

    async def _next(self, line: Line, news_at: float) -> str | None:
        """The next frame; None where none comes."""
        while time.monotonic() - news_at < PATIENCE:
            try:
                return await line.next_text(IDLE)
            except TimeoutError:
                continue
        return None

    def _give_up(self, id: str, began: float) -> None:
        self.journal.write("gave_up", id=id, after_seconds=round(time.monotonic() - began, 3), why="no news")
