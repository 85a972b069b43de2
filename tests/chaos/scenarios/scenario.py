"""What a scenario is, and what several of them need."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.checker import Verdict
from tests.chaos.faults import FAULTS
from tests.chaos.faults.links import LINKS
from tests.chaos.figure import Figure
from tests.chaos.options import GATEWAYS, Options
from tests.chaos.plan import Stroke
from tests.chaos.stage import Stage

WORKERS = 2


def nothing_more(verdict: Verdict, size: int) -> Sequence[Figure]:
    """The rules say it all."""
    return []


class Scenario(NamedTuple):
    """`play` takes the stage, set with `settings`, and gives the figures that clients can measure; `weigh` gives those
    that only the records of all show. The rules are judged as well. `size` is what the figure asks for, in whatever
    `words` count. `direct`: clients go to the gateways themselves, where nothing is done to connections. `hosts`: each
    node is on a host of its own."""

    words: str
    size: int
    settings: Mapping[str, str]
    play: Callable[[Stage, Options, int], Awaitable[Sequence[Figure]]]
    weigh: Callable[[Verdict, int], Sequence[Figure]] = nothing_more
    gateways: int = GATEWAYS
    workers: int = WORKERS
    direct: bool = False
    hosts: bool = False


def settings(chunks: int, interval: float, **more: str) -> dict[str, str]:
    """Of the service, for replies of so many chunks, one every `interval` seconds."""
    return {"LLM_CHAT_ECHO_CHUNKS": str(chunks), "LLM_CHAT_ECHO_INTERVAL": str(interval), **more}


class Striker:
    """Causes faults by name, one after the other, and numbers them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._number = 0

    async def strike(self, name: str, victim: int = 0, share: float = 1.0) -> None:
        """Cause it and wait until what was broken works again."""
        self._number += 1
        await (FAULTS | LINKS)[name]().strike(self._stage, Stroke(self._number, 0.0, name, victim, share))

    async def every(self, seconds: float, names: Sequence[str], until: "asyncio.Future[None]") -> None:
        """Cause these in turn, with so many seconds from one beginning to the next, until the future is done."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not until.done():
            await self.strike(names[self._number % len(names)], victim=self._number // len(names))
            due += seconds
            await asyncio.wait([until], timeout=max(0.0, due - loop.time()))


def least(name: str, what: str, number: float, bound: float) -> Figure:
    """A figure that must reach a bound."""
    return Figure(name, f"{number:,g} {what}, at least {bound:,g} must be", number >= bound)


def most(name: str, what: str, number: float, bound: float, unit: str = "") -> Figure:
    """A figure that must not exceed a bound."""
    return Figure(name, f"{what} {number:,.4g}{unit}, at most {bound:,g}{unit}", number <= bound)


def exactly(name: str, what: str, number: int, wanted: int) -> Figure:
    """A figure that must be a number."""
    return Figure(name, f"{number:,} {what}, {wanted:,} must be", number == wanted)


def struck(verdict: Verdict, name: str, bound: int) -> Figure:
    """How many replies a fault really hit in mid-stream."""
    hits = verdict.hits.get(name)
    return least(name, f"replies hit in mid-stream by {name}", hits.midstream if hits else 0, bound)
