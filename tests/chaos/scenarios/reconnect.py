"""One reply, its connection dropped at each of its events; then read again from each of its cursors."""

from collections.abc import Sequence
from typing import Any

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.clients.line import Line
from tests.chaos.clients.reconnecting import ReconnectingClient
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, exactly
from tests.chaos.stage import Stage

EVENTS = 500  # started, the deltas, done
SETTINGS = {"LLM_CHAT_ECHO_CHUNKS": str(EVENTS - 2), "LLM_CHAT_ECHO_INTERVAL": "0.02"}


class Dropper(ReconnectingClient):
    """Keeps what it read."""

    kind = "dropper"

    def __init__(self, hall: Hall, number: int) -> None:
        super().__init__(hall, number, Habits(messages=1, replays=0), each=True)
        self.events: list[dict[str, Any]] = []
        self.drops = 0

    async def hear(self, line: Line, seconds: float) -> dict[str, Any]:
        """See JsonClient."""
        frame = await super().hear(line, seconds)
        if "cursor" in frame:
            self.events.append(frame)
        return frame

    async def hang_up(self, by: str = "us") -> None:
        """See JsonClient."""
        self.drops += self.line is not None and bool(self.events)
        await super().hang_up(by)

    async def replay(self) -> None:
        """See JsonClient: from everywhere."""


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """From so many of the cursors it is read again."""
    dropper = Dropper(stage.hall, 0)
    stage.admit([dropper])
    await stage.all_said()
    reader = Reader(stage.hall, dropper)
    identical = await reader.read_from_each(size)
    return [
        exactly("events", "events of one reply, read on as many connections", len(dropper.events), EVENTS),
        exactly("drops", "times its connection was dropped", dropper.drops, EVENTS),
        exactly("identical", "resumptions whose events are those of the live reply", identical, size),
    ]


class Reader(JsonClient):
    """Reads what another client read, from each of its places."""

    kind = "reader"

    def __init__(self, hall: Hall, other: Dropper) -> None:
        super().__init__(hall, 0)
        self.session = other.session
        self._events = other.events

    async def read_from_each(self, places: int) -> int:
        """How many of the first places give the very same events as live: before the first event, behind it, ..."""
        try:
            return sum([await self._is_same(place) for place in range(places)])
        finally:
            self.journal.close()

    async def _is_same(self, place: int) -> bool:
        line = await self.open(replay=True)
        where = {"after": self._events[place - 1]["cursor"]} if place else {}
        await line.say({"type": "resume", "session_id": self.session, **where})
        got: list[dict[str, Any]] = []
        while not got or got[-1] != self._events[-1]:
            frame = await line.next(5.0)
            got += [frame] if "cursor" in frame else []
        await line.close()
        return got == self._events[place:]


SCENARIO = Scenario("resumptions of one reply of 500 events", EVENTS, SETTINGS, play)
