"""A client that stops its replies: at once, before their first piece, in mid-stream, from another connection."""

import time
from typing import Any

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import ANSWER, Habits, JsonClient
from tests.chaos.clients.line import BROKEN, Line

FROM_ELSEWHERE = 0.4  # of the cancels come over a second connection, at the other gateway
REST = 0.3  # seconds in which nothing may follow


class Canceller(JsonClient):
    """`share`: how many of its replies it stops."""

    kind = "canceller"

    def __init__(self, hall: Hall, number: int, habits: Habits = Habits(), *, share: float = 0.8) -> None:  # noqa: B008
        super().__init__(hall, number, habits)
        self.asked_at: dict[str, float] = {}  # monotonic seconds of the first cancel, by id
        self._share = share
        self._deltas = 0
        self._stop_at: int | None = None

    async def ask(self) -> bool:
        """See JsonClient; decides first where to stop this one: -1 right behind the message, else after so many
        deltas."""
        stops = self.chance.random() < self._share
        self._stop_at = self.chance.randint(-1, max(1, self.hall.chunks // 2)) if stops else None
        self._deltas = 0
        answered = await super().ask()
        await self.listen(REST)
        return answered

    async def connected(self) -> Line:
        """See JsonClient."""
        line = await super().connected()
        if self._asking in self.asked_at and self._asking not in self.ended and self._asking in self.accepted:
            await self._cancel(line)  # the first one may have been lost with its connection
        return line

    async def said(self, line: Line) -> None:
        """See JsonClient."""
        if self._stop_at == -1:
            self._stop_at = None
            await self._cancel(line)

    async def heard(self, line: Line, frame: dict[str, Any]) -> None:
        """See JsonClient."""
        self._deltas += frame["type"] == "delta" and frame["id"] == self._asking
        if self._stop_at is None or self._deltas < self._stop_at or self._asking not in self.accepted:
            return
        self._stop_at = None
        if self.cursors and self.chance.random() < FROM_ELSEWHERE:
            await self._cancel_from_elsewhere()
        else:
            await self._cancel(line)

    async def _cancel(self, line: Line) -> None:
        self.asked_at.setdefault(self._asking, time.monotonic())
        await line.say({"type": "cancel", "id": self._asking})

    async def _cancel_from_elsewhere(self) -> None:
        """Over a second connection; what comes there is on record as well."""
        other = None
        try:
            other = await self.open()
            await other.say({"type": "resume", "session_id": self.session, "after": self.cursors[-1]})
            while (await other.next(ANSWER))["type"] != "session":
                pass
            await self._cancel(other)
            while (await other.next(ANSWER)).get("type") not in ("done", "error"):
                pass
            await other.close()
        except BROKEN:
            self.asked_at.setdefault(self._asking, time.monotonic())  # in doubt: it is sent again
            if other is not None:
                await other.close("fault")
