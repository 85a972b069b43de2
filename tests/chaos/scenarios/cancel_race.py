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
CHUNKS = 3
INTERVAL = 0.05  # seconds
SPREAD = 0.35  # intervals, to either side of the aim
STEP = 0.1  # intervals
BOTH = 0.05  # of the races, at least, each of the two must win: else it was no race


class Racer(JsonClient):
    """Cancels when the last piece is due, a little before or behind. On a slow machine that piece comes when it comes:
    so whoever has won goes later or earlier the next time."""

    kind = "racer"

    def __init__(self, hall: Hall, number: int, habits: Habits) -> None:
        super().__init__(hall, number, habits)
        self._racing: asyncio.Task[None] | None = None
        self._aim = 0.85  # intervals behind the last piece but one

    async def heard(self, line: Line, frame: dict[str, Any]) -> None:
        """See JsonClient."""
        last_but_one = frame["type"] == "delta" and f"chunk {CHUNKS - 1}: " in frame["text"]
        if last_but_one and frame["id"] not in self.ended:
            self._racing = asyncio.ensure_future(self._race(line, frame["id"]))
        elif frame["type"] == "done":
            self._aim += STEP if frame["finish_reason"] == "cancelled" else -STEP

    async def ask(self) -> bool:
        """See JsonClient."""
        answered = await super().ask()
        if self._racing is not None:
            await self._racing
        return answered

    async def _race(self, line: Line, id: str) -> None:
        await asyncio.sleep(max(0.0, self._aim + self.chance.uniform(-SPREAD, SPREAD)) * INTERVAL)
        try:
            await line.say({"type": "cancel", "id": id})
        except BROKEN:
            return


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many races."""
    count = min(CLIENTS, size)
    shares = [size // count + (number < size % count) for number in range(count)]
    racers = [
        Racer(stage.hall, number, Habits(pause=(0.0, 0.05), messages=share, replays=1))
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
