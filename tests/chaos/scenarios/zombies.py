"""Workers that are stopped for longer than their leases, and write on: nobody sees a byte of it."""

import asyncio
from collections.abc import Sequence

from tests.chaos.checker import Verdict
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, least, settings, struck
from tests.chaos.stage import Stage

CLIENTS = 200
ROUND = 60  # zombies that one stop is counted on to make
# Without a store a worker has one thread. Its wait for news is interrupted where it goes on after a stop, so that it
# writes before it hears that its leases are lost. With a second thread the wait goes on, and it hears first.
ONE_THREAD = {"LLM_CHAT_DATABASE_URL": "none"}


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """Stops of the two workers in turn, until there should be so many zombies."""
    stage.admit([JsonClient(stage.hall, number, Habits(replays=2)) for number in range(min(CLIENTS, 2 * size))])
    striker = Striker(stage)
    await asyncio.sleep(2.0)
    for victim in range(-(-size // ROUND)):
        await striker.strike("worker_freeze", victim)
        await asyncio.sleep(2.0)
    return []


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """A zombie is an attempt that had an append refused."""
    seen = sum(violation.rule == "zombie_invisible" for violation in verdict.violations)
    return [
        struck(verdict, "worker_freeze", 1),
        least("zombies", "attempts that were refused an append", verdict.figures.zombies, size),
        exactly("visible", "of their events seen by a client", seen, 0),
    ]


SCENARIO = Scenario("zombies", 500, settings(50, 0.1, **ONE_THREAD), play, weigh)
