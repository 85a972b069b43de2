"""The broker stands still for 7 s under load: nothing is restarted, lost or doubled for it."""

import asyncio
from collections.abc import Sequence

from tests.chaos.checker import Verdict
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, settings, struck
from tests.chaos.stage import Stage

CALM = 2.0  # seconds of load before and behind the pause


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many clients."""
    stage.admit([JsonClient(stage.hall, number, Habits(replays=2)) for number in range(size)])
    await asyncio.sleep(CALM)
    await Striker(stage).strike("broker_freeze")
    await asyncio.sleep(CALM)
    return []


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """A takeover would be a reply that was taken from a worker which had done no wrong."""
    figures = verdict.figures
    whole = figures.terminals.get("stop", 0)
    return [
        struck(verdict, "broker_freeze", max(1, size // 2)),
        exactly("restarted", "replies restarted", figures.takeovers, 0),
        exactly("refused", "appends refused", figures.refused_appends, 0),
        exactly("lost", "losses", figures.lost_said, 0),
        exactly("whole", "replies ended whole", whole, sum(figures.terminals.values())),
    ]


SCENARIO = Scenario("clients, while the broker stands still for 7 s", 100, settings(60, 0.1), play, weigh)
