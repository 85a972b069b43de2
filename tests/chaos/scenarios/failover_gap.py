"""How long a reply stands still for its reader when its worker dies, and when it only stops answering."""

import asyncio
from collections.abc import Sequence

from tests.chaos.checker import Verdict
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.faults.workers import LEASE
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, most, settings, struck
from tests.chaos.stage import Stage

CLIENTS = 60
EVERY = 2.5  # seconds
AFTER_KILL = 1.0  # seconds
AFTER_STOP = LEASE + 1.0


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many faults of each of the two sorts."""
    stage.admit([JsonClient(stage.hall, number, Habits(replays=1)) for number in range(CLIENTS)])
    striker = Striker(stage)
    await asyncio.sleep(2.0)
    for name in ("engine_kill", "worker_freeze"):
        for victim in range(size):
            await striker.strike(name, victim)
            await asyncio.sleep(EVERY)
    return []


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """From the last event before to the first one behind."""
    gaps = verdict.figures.gaps
    return [
        struck(verdict, "engine_kill", size * CLIENTS // 10),
        struck(verdict, "worker_freeze", size * CLIENTS // 10),
        most("kill", "gap behind kill -9, p99", gaps["engine_kill"].p99, AFTER_KILL, " s"),
        most("stop", "gap behind SIGSTOP, p99", gaps["worker_freeze"].p99, AFTER_STOP, " s"),
    ]


SCENARIO = Scenario("kills, and as many stops, of a worker under load", 10, settings(50, 0.1), play, weigh)
