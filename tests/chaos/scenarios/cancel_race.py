"""Cancel against finish: whichever wins, there is one terminal."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.clients.line import BROKEN, Line
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, exactly, least, settings
from tests.chaos.stage import Stage

CLIENTS = 100
RACES = 10  # of each of them, at least
CHUNKS = 3
INTERVAL = 0.05  # seconds
SPREAD = 0.35  # intervals, to either side of the aim
STEP = 0.02  # intervals
BOTH = 0.05  # of the races, at least, each of the two must win: else it was no race


class Aim:
    """When to cancel, in intervals behind the last piece but one. On a slow machine the last one comes when it comes:
    so after each race all go a little later or earlier, whoever has won it."""

    def __init__(self) -> None:
        self.at = 0.85

    def learn(self, won: bool) -> None:
        """Who cancelled has won, or not."""
        self.at = min(1.5, max(0.0, self.at + (STEP if won else -STEP)))


class Racer(JsonClient):
    """Cancels when the last piece is due, a little before or behind."""

    kind = "racer"

    def __init__(self, hall: Hall, number: int, habits: Habits, aim: Aim) -> None:
        super().__init__(hall, number, habits)
        self._racing: asyncio.Task[None] | None = None
        self._aim = aim

    async def heard(self, line: Line, frame: dict[str, Any]) -> None:
        """See JsonClient."""
        last_but_one = frame["type"] == "delta" and f"chunk {CHUNKS - 1}: " in frame["text"]
        if last_but_one and frame["id"] not in self.ended:
            self._racing = asyncio.ensure_future(self._race(line, frame["id"]))
        elif frame["type"] == "done":
            self._aim.learn(frame["finish_reason"] == "cancelled")

    async def ask(self) -> bool:
        """See JsonClient."""
        answered = await super().ask()
        if self._racing is not None:
            await self._racing
        return answered

    async def _race(self, line: Line, id: str) -> None:
        await asyncio.sleep(max(0.0, self._aim.at + self.chance.uniform(-SPREAD, SPREAD)) * INTERVAL)
        try:
            await line.say({"type": "cancel", "id": id})
        except BROKEN:
            return


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many races."""
    count = min(CLIENTS, -(-size // RACES))
    aim = Aim()
    shares = [size // count + (number < size % count) for number in range(count)]
    racers = [
        Racer(stage.hall, number, Habits(pause=(0.0, 0.05), messages=share, replays=1), aim)
        for number, share in enumerate(shares)
    ]
    stage.admit(racers)
    await stage.all_said()
    ends = Counter(end.get("finish_reason", "error") for racer in racers for end in racer.ended.values())
    return [
        exactly("terminals", "races with one end", ends["stop"] + ends["cancelled"], size),
        least("cancelled", "won by the cancel", ends["cancelled"], int(size * BOTH)),
        least("finished", "won by the finish", ends["stop"], int(size * BOTH)),
    ]


SCENARIO = Scenario("races of a cancel against the end of its reply", 10_000, settings(CHUNKS, INTERVAL), play)
