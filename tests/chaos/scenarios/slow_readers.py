"""100 readers that never read, among 200 that do: what it costs the gateways' memory, and the others."""

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tests.chaos.checker import Verdict
from tests.chaos.clients.deaf import DeafClient
from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.clients.line import Line
from tests.chaos.figure import Figure, percentile
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, exactly, least, most
from tests.chaos.stage import Stage

CHUNKS = 150
INTERVAL = 0.2  # seconds
PADDING = 8_000  # bytes of each piece for those that never read: 1.2 MB in all, more than buffers on the way hold
MEMORY = 5_000_000  # bytes, of all gateways together
SLOWER = 1.1
LEFT = 0.5  # of a reply may lie in buffers on the way to a client that does not read
SETTINGS = {"LLM_CHAT_ECHO_CHUNKS": str(CHUNKS), "LLM_CHAT_ECHO_INTERVAL": str(INTERVAL)}


class Metronome(JsonClient):
    """Notes the time between any two pieces of a reply, by id."""

    kind = "metronome"

    def __init__(self, hall: Hall, number: int) -> None:
        super().__init__(hall, number, Habits(messages=3, pause=(0.0, 0.0), replays=0))
        self.times: dict[str, list[float]] = {}

    async def hear(self, line: Line, seconds: float) -> dict[str, Any]:
        """See JsonClient."""
        frame = await super().hear(line, seconds)
        if frame["type"] == "delta":
            self.times.setdefault(frame["id"], []).append(time.monotonic())
        return frame

    def between(self, id: str) -> list[float]:
        """Seconds."""
        return [later - sooner for sooner, later in pairwise(self.times.get(id, []))]


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """So many that never read and twice as many that do: the latter's second reply without the former, the third one
    with them."""
    readers = [Metronome(stage.hall, number) for number in range(2 * size)]
    stage.admit(readers)
    await _all_have(readers, "m1")
    await asyncio.sleep(INTERVAL * CHUNKS)
    await _all_have(readers, "m3")
    alone = _memory(stage)
    deaf = [DeafClient(stage.hall, number, Habits(messages=1, padding=PADDING, replays=1)) for number in range(size)]
    stage.admit(deaf)
    await _all_listen_once(deaf)
    most_memory = before = _memory(stage)
    while not all("m3" in reader.ended for reader in readers):
        most_memory = max(most_memory, _memory(stage))
        await asyncio.sleep(0.5)
    taken = _taken(stage, deaf)
    for client in deaf:
        client.hearing.set()
    await stage.all_said()
    without, among = (percentile([t for one in readers for t in one.between(id)], 0.99) for id in ("m2", "m3"))
    whole = sum(end.get("finish_reason") == "stop" for client in deaf for end in client.ended.values())
    return [
        most("held", "share of their replies that had left the gateways by then", taken, LEFT),
        most("memory", "growth of all gateways, their connections included", most_memory - alone, MEMORY, " bytes"),
        most("unread", "of that since they read no more", most_memory - before, MEMORY, " bytes"),
        most(
            "others", f"between two pieces, p99 {without:.4f} s without them, with them", among, SLOWER * without, " s"
        ),
        exactly("transcripts", "of those that did not read have all of it in the end", whole, size),
    ]


async def _all_have(readers: Sequence[Metronome], id: str) -> None:
    while not all(reader.times.get(id) for reader in readers):  # noqa: ASYNC110  # it comes by itself
        await asyncio.sleep(0.1)


async def _all_listen_once(deaf: Sequence[DeafClient]) -> None:
    """Each reads until its reply has begun, then never again."""
    waiting = set(deaf)
    while waiting:
        for client in [client for client in waiting if len(client.cursors) > 1]:
            client.hearing.clear()
            waiting.discard(client)
        await asyncio.sleep(0.02)


def _taken(stage: Stage, deaf: Sequence[DeafClient]) -> float:
    """On the average; 1 is a whole reply."""
    names = {client.name for client in deaf}
    theirs = [one for one in stage.passages() if stage.hall.callers.get(one.port, ("", 0))[0] in names]
    return sum(one.taken for one in theirs) / len(deaf) / (PADDING * CHUNKS)


def _memory(stage: Stage) -> int:
    return sum(one["rss"] for one in stage.cluster.measure() if one["role"] == "gateway")


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """That there was something to hold back."""
    return [least("read", "events read in all", verdict.figures.events, 3 * size * CHUNKS)]


SCENARIO = Scenario("readers that never read, among twice as many that do", 100, SETTINGS, play, weigh)
