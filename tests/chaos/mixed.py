"""The run of the whole command: all clients, all faults, by the plan."""

import asyncio
import sys
import time
from collections.abc import Sequence

from tests.chaos import load
from tests.chaos.faults import FAULTS
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.plan import Stroke, make_plan
from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.stage import Stage

RAMP = 1.0  # seconds over which the clients come


def plan_of(options: Options) -> list[Stroke]:
    """What is going to happen."""
    return make_plan(options.seed, options.seconds, [fault.sort for fault in FAULTS.values()])


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """Let the clients talk for `options.seconds`, and strike."""
    clients = load.make_clients(stage.hall, options.clients)
    plan = plan_of(options)
    sys.stdout.write(f"Load: {load.in_words(clients)}\n{announce(plan)}\n")
    sys.stdout.flush()
    began = time.monotonic()
    for position, client in enumerate(clients):
        stage.admit([client])
        if position % 10 == 9:
            await asyncio.sleep(RAMP * 10 / len(clients))
    await _run_lanes(stage, plan, began)
    await asyncio.sleep(max(0.0, began + options.seconds - time.monotonic()))
    return []


def announce(plan: Sequence[Stroke]) -> str:
    """The plan, for the head of the scorecard."""
    missing = [name for name in FAULTS if name not in {stroke.name for stroke in plan}]
    lines = [f"Plan: {len(plan)} faults."]
    lines += [f"  {stroke.at:6.2f} s  {stroke.name}: {FAULTS[stroke.name].words}" for stroke in plan]
    if missing:
        lines.append(f"Not planned, for want of time: {', '.join(missing)}.")
    return "\n".join(lines)


async def _run_lanes(stage: Stage, plan: Sequence[Stroke], began: float) -> None:
    """Beside each other. Where one fails none goes on, and starts processes behind the end."""
    lanes = sorted({_lane(stroke) for stroke in plan})
    runs = [asyncio.ensure_future(_run_lane(stage, [s for s in plan if _lane(s) == lane], began)) for lane in lanes]
    try:
        await asyncio.gather(*runs)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)


def _lane(stroke: Stroke) -> str:
    return FAULTS[stroke.name].sort.lane


async def _run_lane(stage: Stage, strokes: Sequence[Stroke], began: float) -> None:
    """One after the other, each at its moment or, where the one before took longer, behind that."""
    for stroke in strokes:
        await asyncio.sleep(max(0.0, began + stroke.at - time.monotonic()))
        await FAULTS[stroke.name]().strike(stage, stroke)


SCENARIO = Scenario("all clients, all faults", 0, load.SETTINGS, play)
