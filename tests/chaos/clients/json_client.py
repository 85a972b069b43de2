"""A client of the JSON dialect as docs/protocol.md asks for one: it resumes, and it sends again what is in doubt."""

import asyncio
import time
from typing import Any, NamedTuple

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.line import BROKEN, Line
from tests.chaos.records import Journal

PATIENCE = 40.0  # seconds without any news of a message, over all connections, after which it hangs
ANSWER = 5.0  # seconds for `session`
LOSS = 2.0  # seconds in which what is not lost shows itself behind `recovered: false`
BACK = (0.02, 0.25)  # seconds until the next try to connect; twice as long with each failure
LONGEST_BACK = 1.0
AGAIN = (0.2, 0.5)  # seconds until a refused message is sent again
REFUSALS_TO_REPEAT = {"broker_unavailable", "queue_full", "busy", "internal"}


class Leave(Exception):
    """This connection is to be given up now; come back after so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Refused(Exception):
    """What was asked for was not accepted, and may be asked for again."""


class Habits(NamedTuple):
    """`pause` seconds between two messages, `padding` bytes in each besides the canary. A client ends after so many
    `messages`, or when the run is over, and reads its session again `replays` times: from its beginning, and from some
    of its cursors."""

    pause: tuple[float, float] = (0.1, 0.6)
    padding: int = 0
    messages: float = float("inf")
    replays: int = 4


class JsonClient:
    """One session for as long as it lasts, one message at a time."""

    kind = "json"
    deaf = False

    def __init__(self, hall: Hall, number: int, habits: Habits = Habits()) -> None:  # noqa: B008  # it is immutable
        self.name = f"{self.kind}-{number}"
        self.hall = hall
        self.chance = hall.chance(self.name)
        self.journal = Journal(hall.records, f"client-{self.name}")
        self.line: Line | None = None
        self.session: str | None = None
        self.cursors: list[str] = []  # of all events since the session began or lost its memory
        self.door = number
        self.ended: dict[str, dict[str, Any]] = {}  # terminals by id
        self.accepted: set[str] = set()
        self._habits = habits
        self._failures = 0  # connections in a row that could not be used
        self._messages = 0
        self._connections = 0
        self._asking = ""
        self._news_at = 0.0
        self._lost_at: float | None = None

    async def run(self) -> None:
        """Talk until the run is over, then read everything again."""
        try:
            while not self.hall.over.is_set() and self._messages < self._habits.messages:
                await self.ask()
                await self.listen(self.chance.uniform(*self._habits.pause))
            await self.replay()
        finally:
            await self.hang_up()
            self.journal.close()

    async def ask(self) -> bool:
        """Send a message and follow its reply to the end, over as many connections as it takes. False: it was lost, and
        that was said, or it hangs."""
        self._messages += 1
        id = self._asking = f"m{self._messages}"
        content = f"{self.name}/{id}" + ("." * self._habits.padding)
        began = self._news_at = time.monotonic()
        self._lost_at = None
        while id not in self.ended:
            try:
                line = await self.connected()
                if id not in self.accepted:
                    await line.say({"type": "message", "id": id, "content": content})
                    await self.said(line)
                await self.follow(line, id)
            except Leave as leave:
                await self.hang_up()
                await asyncio.sleep(leave.seconds)
            except Refused:
                await asyncio.sleep(self.chance.uniform(*AGAIN))
            except BROKEN:
                await self.hang_up("fault")
                await asyncio.sleep(self._back())
            if self._is_lost():
                return self._give_up(id, began, "the loss was said")
            if id not in self.ended and time.monotonic() - self._news_at > PATIENCE:
                return self._give_up(id, began, "no news")
        self.journal.write("done", id=id)
        return True

    async def connected(self) -> Line:
        """A connection on this session. Raises Leave and what is in BROKEN."""
        if self.line is not None:
            return self.line
        line = self.line = await self.open()
        if self.session is None:
            await line.say({"type": "start"})
        else:
            after = {"after": self.cursors[-1]} if self.cursors else {}
            await line.say({"type": "resume", "session_id": self.session, **after})
        try:
            while (await self.hear(line, ANSWER))["type"] != "session":
                pass
        except Refused:
            await self.hang_up()
            raise
        self._failures = 0
        return line

    async def open(self, *, replay: bool = False) -> Line:
        """The next connection, at the next door. Raises what is in BROKEN."""
        self._connections += 1
        self.door += 1
        return await Line.open(
            self.hall,
            self.journal,
            self.name,
            self._connections,
            self.door,
            json=True,
            replay=replay,
            deaf=self.deaf,
        )

    async def follow(self, line: Line, id: str) -> None:
        """Read until the reply has ended, is lost, or is overdue."""
        while id not in self.ended and not self._is_lost():
            try:
                frame = await self.hear(line, 1.0)
            except TimeoutError:
                if time.monotonic() - self._news_at > PATIENCE:
                    return
                await self.silent(line)
                continue
            await self.heard(line, frame)

    async def silent(self, line: Line) -> None:
        """Called once a second while nothing comes. The library's pings find out whether the connection is half-open;
        here is for clients without them."""

    async def said(self, line: Line) -> None:
        """Called when a message is on its way."""

    async def heard(self, line: Line, frame: dict[str, Any]) -> None:
        """Called after each frame of a reply that is followed; for clients that do something then. May raise Leave."""

    async def hear(self, line: Line, seconds: float) -> dict[str, Any]:
        """Take in the next frame. Raises Leave and what is in BROKEN."""
        frame = await line.next(seconds)
        self._take(frame)
        if frame["type"] == "going_away":
            raise Leave(frame["retry_after_ms"] / 1000)
        if frame["type"] == "error" and "cursor" not in frame:
            self._refused(frame)
        return frame

    async def listen(self, seconds: float) -> None:
        """Take in what comes while nothing is asked for."""
        end = time.monotonic() + seconds
        while self.line is not None and (left := end - time.monotonic()) > 0:
            try:
                await self.hear(self.line, left)
            except TimeoutError:
                return
            except Leave as leave:
                await self.hang_up()
                await asyncio.sleep(leave.seconds)
            except Refused:
                continue
            except BROKEN:
                await self.hang_up("fault")

    async def replay(self) -> None:
        """Read the session again, from its beginning and from some of its cursors."""
        if not self.cursors or self.session is None or not self._habits.replays:
            return
        await self.hang_up()
        places = [None, *self.chance.sample(self.cursors[:-1], min(self._habits.replays - 1, len(self.cursors) - 1))]
        for after in places:
            await self.replay_from(after)

    async def replay_from(self, after: str | None) -> None:
        """Once, to the last event that is known."""
        try:
            line = await self.open(replay=True)
        except BROKEN:
            return
        where = {} if after is None else {"after": after}
        try:
            await line.say({"type": "resume", "session_id": self.session, **where})
            while (await line.next(ANSWER)).get("cursor") != self.cursors[-1]:
                pass
            await line.close()
        except BROKEN:
            await line.close("fault")

    async def hang_up(self, by: str = "us") -> None:
        """End the connection, if there is one."""
        line, self.line = self.line, None
        if line is not None:
            await line.close(by)

    def _take(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if frame.get("id") == self._asking:
            self._news_at = time.monotonic()
        if "cursor" in frame:
            self.cursors.append(frame["cursor"])
            if kind in ("done", "error"):
                self.ended[frame["id"]] = frame
            if frame["id"] == self._asking and self._lost_at is not None:
                self._lost_at = time.monotonic()
        elif kind == "accepted":
            self.accepted.add(frame["id"])
        elif kind == "session":
            self._joined(frame)

    def _joined(self, frame: dict[str, Any]) -> None:
        self.session = frame["session_id"]
        if self._asking in frame["open"]:
            self.accepted.add(self._asking)
        if frame["recovered"]:
            return
        self.cursors.clear()
        if self._asking in self.accepted and self._asking not in frame["open"]:
            self._lost_at = time.monotonic()

    def _refused(self, frame: dict[str, Any]) -> None:
        """Nothing was accepted: try again, or begin anew where the session is gone."""
        if frame["code"] == "session_not_found":
            self.session = None
            self.cursors.clear()
            if self._asking in self.accepted:
                self._lost_at = time.monotonic() - LOSS
            raise Leave(self._back())
        if frame["code"] in REFUSALS_TO_REPEAT:
            raise Refused

    def _back(self) -> float:
        self._failures += 1
        return min(LONGEST_BACK, self.chance.uniform(*BACK) * 2.0 ** (self._failures - 1))

    def _is_lost(self) -> bool:
        return self._lost_at is not None and time.monotonic() - self._lost_at >= LOSS

    def _give_up(self, id: str, began: float, why: str) -> bool:
        self.journal.write("gave_up", id=id, after_seconds=round(time.monotonic() - began, 3), why=why)
        return False
