"""Every process on a host of its own, and a network between them that cuts off, loses in one direction, and is slow."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.checker import Verdict
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.cluster import Node
from tests.chaos.faults.links import HOLD, LINKS
from tests.chaos.faults.workers import LEASE
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, most, settings, struck
from tests.chaos.stage import Stage

CLIENTS = 40
CALM = 3.0  # seconds with all at work, before the next fault
LOOK = 0.05  # seconds between two looks at what workers do
RECOVERY = LEASE + 5.0  # seconds
# Whose work nobody else can do meanwhile has that time from the end of the fault on; others have it from its beginning.
BOUNDS = {"gateway_cut_off": HOLD + RECOVERY}


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """Each sort of fault so many times."""
    clients = [JsonClient(stage.hall, number, Habits(replays=2)) for number in range(CLIENTS)]
    stage.admit(clients)
    striker = Striker(stage)
    await asyncio.sleep(CALM)
    backs: list[float] = []
    for victim in range(size):
        for name in LINKS:
            await striker.strike(name, victim)
            backs += await asyncio.gather(*(back_at_work(stage, worker) for worker in stage.cluster.workers))
            await asyncio.sleep(CALM)
    stage.hall.over.set()
    await stage.all_said()
    ends = Counter(end["type"] for client in clients for end in client.ended.values())
    return [
        exactly("done", "replies ended whole", ends["done"], sum(ends.values())),
        most("back", "from the end of a fault until every worker has new work", max(backs), RECOVERY, " s"),
    ]


async def back_at_work(stage: Stage, worker: Node) -> float:
    """Seconds until it has been given a further reply to write; twice RECOVERY where it never was."""
    before, began = leases(stage, worker), time.monotonic()
    while leases(stage, worker) == before and time.monotonic() - began < 2 * RECOVERY:  # noqa: ASYNC110  # processes
        await asyncio.sleep(LOOK)
    return time.monotonic() - began


def leases(stage: Stage, worker: Node) -> int:
    """How many it has had, by its engine processes' own records."""
    paths = [stage.records / f"worker-{engine.pid}.jsonl" for engine in worker.engines()]
    return sum(path.read_bytes().count(b'"leased"') for path in paths if path.exists())


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """All of them struck, nothing was lost, and it went on in time."""
    gaps = verdict.figures.gaps
    figures = [exactly("lost", "losses said", verdict.figures.lost_said, 0)]
    for name in LINKS:
        figures.append(struck(verdict, name, size * CLIENTS // 10))
        if name in gaps:
            figures.append(most(name, "longest silence behind it", gaps[name].most, BOUNDS.get(name, RECOVERY), " s"))
    return figures


SCENARIO = Scenario("faults of each sort on the network between hosts", 3, settings(50, 0.1), play, weigh, hosts=True)
