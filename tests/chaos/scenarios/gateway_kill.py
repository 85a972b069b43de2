"""kill -9 of the only gateway with 1,000 live streams: how soon they go on when it is back."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from tests.chaos.checker import Verdict
from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.clients.line import Line
from tests.chaos.figure import Figure, percentile
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, most, settings, struck
from tests.chaos.stage import Stage

CHUNKS = 30
INTERVAL = 1.0  # seconds
RAMP = 100  # clients that come in a second
LIMIT = 3.0  # seconds


class Streamer(JsonClient):
    """Notes when events come."""

    kind = "streamer"

    def __init__(self, hall: Hall, number: int) -> None:
        super().__init__(hall, number, Habits(messages=1, replays=0))
        self.times: list[float] = []

    async def hear(self, line: Line, seconds: float) -> dict[str, Any]:
        """See JsonClient."""
        frame = await super().hear(line, seconds)
        if "cursor" in frame:
            self.times.append(time.monotonic())
        return frame

    def since(self, moment: float) -> float:
        """Seconds from a moment to the first event behind it; for ever, where none came."""
        return min((t - moment for t in self.times if t > moment), default=float("inf"))


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many streams."""
    streamers = [Streamer(stage.hall, number) for number in range(size)]
    for position, streamer in enumerate(streamers):
        stage.admit([streamer])
        if position % 10 == 9:
            await asyncio.sleep(10 / RAMP)
    while not all(streamer.times for streamer in streamers):  # noqa: ASYNC110  # they come by themselves
        await asyncio.sleep(0.1)
    await Striker(stage).strike("gateway_kill")
    back = time.monotonic()
    await stage.all_said()
    waits = [streamer.since(back) for streamer in streamers]
    whole = sum(end["type"] == "done" for streamer in streamers for end in streamer.ended.values())
    return [
        exactly("resumed", "streams went on", sum(wait < float("inf") for wait in waits), size),
        exactly("whole", "replies ended whole", whole, size),
        most("restart", "from the restarted gateway to the next event, p99", percentile(waits, 0.99), LIMIT, " s"),
    ]


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """All of them must have been live."""
    return [struck(verdict, "gateway_kill", size)]


SCENARIO = Scenario(
    "live streams, whose gateway is killed", 1_000, settings(CHUNKS, INTERVAL), play, weigh, gateways=1, direct=True
)
