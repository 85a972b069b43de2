"""How long it takes from the user's Stop to the engine's, in mid-stream."""

from collections.abc import Sequence

from tests.chaos.checker import Verdict
from tests.chaos.clients.canceller import Canceller
from tests.chaos.clients.json_client import Habits
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, least, most, settings
from tests.chaos.stage import Stage

CLIENTS = 50
LIMIT = 0.2  # seconds
STOPPED = 0.5  # of the cancels, at least, must have stopped an engine: the others came while nothing ran yet


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many cancels, by clients on both gateways, some over a second connection."""
    count = min(CLIENTS, size)
    habits = [Habits(messages=size // count + (number < size % count), replays=1) for number in range(count)]
    stage.admit([Canceller(stage.hall, number, one, share=1.0) for number, one in enumerate(habits)])
    await stage.all_said()
    return []


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """From the client's request to the worker's stop."""
    latency = verdict.figures.cancel_latency
    return [
        least("stopped", "engines stopped", latency.number, max(1, int(size * STOPPED))),
        most("cancel", "from request to stop, p99", latency.p99, LIMIT, " s"),
    ]


SCENARIO = Scenario("cancels", 1_000, settings(20, 0.1), play, weigh)
