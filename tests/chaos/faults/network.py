"""What networks do to the connections between clients and gateways, by our proxy; and readers that stop reading."""

import asyncio
import random

from tests.chaos.clients.deaf import DeafClient
from tests.chaos.faults.base import Fault, NotRun, Occasion
from tests.chaos.plan import Sort
from tests.chaos.proxy import Passage
from tests.chaos.stage import Stage

LANE = "network"
SLOW = (0.2, 0.8)  # seconds that every byte takes longer


class Cut(Fault):
    """Both ends see the end of the stream."""

    sort = Sort("connections_cut", LANE, 1.0, False)
    words = "a part of the connections closed by the network"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        for passage in strike_some(stage, occasion):
            passage.cut()


class Reset(Fault):
    """Both ends see a reset."""

    sort = Sort("connections_reset", LANE, 1.0, False)
    words = "a part of the connections reset"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        for passage in strike_some(stage, occasion):
            passage.reset()


class HalfOpen(Fault):
    """Nothing arrives any more, and nobody is told: both ends have to find out."""

    sort = Sort("connections_half_open", LANE, 4.0, False)
    words = "a part of the connections half-open: everything swallowed, nobody told"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        for passage in strike_some(stage, occasion):
            passage.half_open()


class Delay(Fault):
    """Each of them by a time of its own."""

    sort = Sort("connections_delayed", LANE, 3.0, False)
    words = f"a part of the connections slower by {SLOW[0]} to {SLOW[1]} s"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        chance = random.Random(occasion.stroke.victim)
        struck = strike_some(stage, occasion)
        for passage in struck:
            passage.delay(chance.uniform(*SLOW))
        await asyncio.sleep(self.sort.takes)
        for passage in struck:
            passage.delay(0)


class ReadersStop(Fault):
    """Their replies go on without them."""

    sort = Sort("readers_stop", LANE, 3.0, False)
    words = "readers of long replies that stop reading, and read on later"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        deaf = [client for client in stage.clients if isinstance(client, DeafClient) and client.line is not None]
        if not deaf:
            raise NotRun("no such reader is connected")
        for client in deaf:
            client.hearing.clear()
        connections = [[client.name, client.line.number] for client in deaf if client.line is not None]
        occasion.begun("connection", f"{len(deaf)} readers", connections=connections)
        await asyncio.sleep(self.sort.takes)
        for client in deaf:
            client.hearing.set()


def strike_some(stage: Stage, occasion: Occasion) -> list[Passage]:
    """The plan's share of the connections. Raises NotRun where there is none."""
    there = stage.passages()
    if not there:
        raise NotRun("nobody is connected")
    chance = random.Random(occasion.stroke.victim)
    chosen = chance.sample(there, max(1, round(len(there) * occasion.stroke.share)))
    callers = [stage.hall.callers[passage.port] for passage in chosen if passage.port in stage.hall.callers]
    occasion.begun("connection", f"{len(chosen)} of {len(there)} connections", connections=[list(c) for c in callers])
    return chosen
