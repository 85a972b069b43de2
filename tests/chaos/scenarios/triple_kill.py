"""Each reply loses its client's connection, its gateway and its worker once, in every order; what its reader holds in
the end is what it would have been without all that."""

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from tests.chaos.checker import Verdict
from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.clients.line import Line
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, settings
from tests.chaos.stage import Stage

BATCH = 100  # replies that are hit together
CHUNKS = 50
INTERVAL = 0.2  # seconds
FAULTS = ("connections_reset", "gateway_kill", "worker_kill")


class Batch:
    """Where the clients of a batch connect, all of them to one gateway, so that its death strikes all of them."""

    door = 0


class Follower(JsonClient):
    """Says one message twice: once undisturbed, once to be disturbed. Its texts by id are what it held at the end."""

    kind = "follower"

    def __init__(self, hall: Hall, number: int, batch: Batch) -> None:
        super().__init__(hall, number, Habits(pause=(0.0, 0.0), messages=1, replays=1))
        self.text = ""
        self.fresh = 0  # deltas since it was last looked at
        self._batch = batch

    async def open(self, *, replay: bool = False) -> Line:
        """See JsonClient."""
        self.door = self._batch.door - 1
        return await super().open(replay=replay)

    async def hear(self, line: Line, seconds: float) -> dict[str, Any]:
        """See JsonClient."""
        frame = await super().hear(line, seconds)
        if frame["type"] == "delta":
            self.text += frame["text"]
            self.fresh += 1
        elif frame["type"] == "takeover" and not frame["exact"]:
            self.text = ""
        return frame


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many replies, in batches, each batch struck in the next order."""
    orders = list(permutations(FAULTS))
    chance = stage.hall.chance("orders")
    chance.shuffle(orders)
    striker = Striker(stage)
    followers: list[Follower] = []
    for number, first in enumerate(range(0, size, BATCH)):
        batch = Batch()
        members = [Follower(stage.hall, index, batch) for index in range(first, min(size, first + BATCH))]
        followers += members
        stage.admit(members)
        for name in orders[number % len(orders)]:
            await _strike(stage, striker, name, batch, members)
        await stage.all_said()
    hashes = [hashlib.sha256(follower.text.encode()).hexdigest() for follower in followers]
    undisturbed = [_undisturbed(follower) for follower in followers]
    equal = sum(one == other for one, other in zip(hashes, undisturbed, strict=True))
    promised = sum(
        one == follower.ended["m1"].get("text_sha256") for one, follower in zip(hashes, followers, strict=True)
    )
    return [
        exactly("transcripts", "transcripts equal to the undisturbed ones", equal, size),
        exactly("promised", "of them have the promised text_sha256", promised, size),
    ]


async def _strike(stage: Stage, striker: Striker, name: str, batch: Batch, members: Sequence[Follower]) -> None:
    """When every reply of the batch is in mid-stream, and has moved since the last time."""
    for member in members:
        member.fresh = 0
    while not all(member.fresh for member in members):  # noqa: ASYNC110  # they move by themselves
        await asyncio.sleep(0.02)
    if name == "gateway_kill":
        victim, batch.door = batch.door, 1 - batch.door
        await striker.strike(name, victim)
    elif name == "worker_kill":  # all workers at once: each reply loses the one that it has, and only that
        await asyncio.gather(*(striker.strike(name, victim) for victim in range(len(stage.cluster.workers))))
    else:
        await striker.strike(name)


def _undisturbed(follower: Follower) -> str:
    text = "\n".join(f"chunk {number}: {follower.name}/m1" for number in range(1, CHUNKS + 1))
    return hashlib.sha256(text.encode()).hexdigest()


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """Each reply was hit by each of the three, once, in mid-stream."""
    hits = verdict.hits
    return [exactly(name, f"hit by {name}", hits[name].midstream if name in hits else 0, size) for name in FAULTS]


SCENARIO = Scenario(
    "replies that lose connection, gateway and worker, each once", 500, settings(CHUNKS, INTERVAL), play, weigh
)
