"""10,000 replies while an engine process is killed every two seconds: none lost, none doubled, none crossed."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from tests.chaos.checker import Verdict
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, settings, struck
from tests.chaos.stage import Stage

CLIENTS = 200
EVERY = 2.0  # seconds


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many replies in all, by clients that hardly pause."""
    count = min(CLIENTS, size)
    shares = [size // count + (number < size % count) for number in range(count)]
    clients = [
        JsonClient(stage.hall, number, Habits(pause=(0.0, 0.1), messages=share, replays=1))
        for number, share in enumerate(shares)
    ]
    stage.admit(clients)
    talk = asyncio.ensure_future(stage.all_said())
    await Striker(stage).every(EVERY, ["engine_kill"], talk)
    await talk
    ends = Counter(_how(end) for client in clients for end in client.ended.values())
    return [
        exactly("terminals", "replies ended", sum(ends.values()), size),
        exactly("done", "of them are whole", ends["stop"], size),
        exactly("worker_lost", "ended as worker_lost", ends["worker_lost"], 0),
    ]


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """The kills must have struck."""
    return [struck(verdict, "engine_kill", max(1, size // 50))]


def _how(end: dict[str, str]) -> str:
    return end["finish_reason"] if end["type"] == "done" else end["code"]


SCENARIO = Scenario("replies under a worker kill every 2 s", 10_000, settings(10, 0.1), play, weigh)
