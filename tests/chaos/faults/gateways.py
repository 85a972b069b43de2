"""Gateways that die or leave with live streams, and everything restarted one by one."""

import signal

from tests.chaos.cluster import Node
from tests.chaos.faults.base import Fault, Occasion, pick
from tests.chaos.plan import Sort
from tests.chaos.stage import Stage

LANE = "gateways"
HOUR_MS = 3_600_000


class GatewayKill(Fault):
    """Its clients resume at the other one."""

    sort = Sort("gateway_kill", LANE, 3.0, False)
    words = "kill -9 of a gateway with live streams"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        gateway = pick(stage.cluster.gateways, occasion.stroke)
        async with gateway.busy:
            occasion.struck(gateway, gateway.signal_all(signal.SIGKILL, "killed"))
            await gateway.ended()
            await gateway.restart()


class GatewayStop(Fault):
    """It tells its clients first."""

    sort = Sort("gateway_stop", LANE, 4.0, False)
    words = "SIGTERM of a gateway with live streams"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        await cycle(pick(stage.cluster.gateways, occasion.stroke), occasion)


class RollingRestart(Fault):
    """Each gateway and worker in turn: SIGTERM, wait for its end, start the next life, wait until that serves."""

    sort = Sort("rolling_restart", LANE, 14.0, False)
    words = "a rolling restart of every gateway and worker"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        for node in stage.nodes():
            await cycle(node, occasion)


class WallClock(Fault):
    """A gateway and a worker come back with calendars two hours apart, and keep them to the end of the run."""

    sort = Sort("wall_clock", LANE, 7.0, False)
    words = "a gateway and a worker restarted with their wall clocks an hour off, in opposite directions"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        stroke = occasion.stroke
        offset = HOUR_MS if stroke.victim % 4 < 2 else -HOUR_MS
        await cycle(pick(stage.cluster.gateways, stroke), occasion, offset)
        await cycle(pick(stage.cluster.workers, stroke), occasion, -offset)


async def cycle(node: Node, occasion: Occasion, offset_ms: int | None = None) -> None:
    """SIGTERM, the end, the next life."""
    async with node.busy:
        if node.process is None:
            return
        node.process.kill(signal.SIGTERM)
        occasion.struck(node, [one.pid for one in node.family()])
        await node.ended()
        await node.restart(offset_ms)
