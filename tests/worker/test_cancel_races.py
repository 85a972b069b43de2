"""Cancel against finish, ten thousand times: the runner and the broker's state machine, on one event loop."""

import asyncio
import contextlib
import math
import random
from collections.abc import Callable

from shared.brokers.memory import MemoryBroker
from shared.brokers.sides import GatewaySide
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.messages import Delta, Done, Item, Started, Submission, decode_events, text_sha256
from shared.request import encode_request
from tests.worker.fakes import REQUEST, Watch
from worker.engines.base import Job, Sink
from worker.runner import Runner

RACES, AT_ONCE = 10_000, 100
LONGEST = 0.008  # seconds until the finish: two flushes and a poll or two
EVERYTHING = 1 << 30


class Racer:
    """An engine whose replies finish after a random time, with random pieces before that. `made` counts by reply."""

    model = "racer"
    continues = False
    contextual = False
    blocks = False
    slots = AT_ONCE
    first_piece_limit = next_piece_limit = math.inf

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.sinks: list[Sink] = []
        self.made: list[int] = []

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """See Engine."""
        place = len(self.sinks)
        self.sinks.append(sink)
        self.made.append(0)
        loop = asyncio.get_running_loop()
        moments = sorted(self._chance.uniform(0, LONGEST) for _ in range(self._chance.randrange(4)))
        timers = [loop.call_later(moment, self._piece, place) for moment in moments]
        timers.append(
            loop.call_later(self._chance.uniform(moments[-1] if moments else 0, LONGEST), self._finish, place)
        )

        def abort() -> None:
            for timer in timers:
                timer.cancel()

        return abort

    def _piece(self, place: int) -> None:
        self.made[place] += 1
        self.sinks[place].piece(f"{self.made[place]} ")

    def _finish(self, place: int) -> None:
        self._piece(place)
        self.sinks[place].finish("stop")

    async def close(self) -> None:
        """See Engine."""


def stored(front: GatewaySide, session: str) -> list[Item]:
    return front.read(session, None, EVERYTHING).result().items


async def race(front: GatewaySide, session: str, chance: random.Random) -> Done:
    """Ask, cancel, and check all that is kept of it. Returns how it ended."""
    front.open(session, "ann", None, None)
    await front.submit(Submission(session, "m1", 0, encode_request(REQUEST)))
    await asyncio.sleep(chance.uniform(0, 2.5 * LONGEST))
    ended, before = not front.attach(session, None).result().running, stored(front, session)
    assert front.cancel(session, "m1").result()  # of this broker calls are done at once: nothing was in between
    while (await front.attach(session, None)).running:  # noqa: ASYNC110  # no drain: that would order things
        await asyncio.sleep(LONGEST / 4)
    items = stored(front, session)
    assert items[: len(before)] == before
    assert len(items) == len(before) + (not ended)  # behind the cancel comes its terminal, alone
    assert [item.terminal for item in items] == [False] * (len(items) - 1) + [True]
    assert [item.first for item in items] == [sum(item.count for item in items[:place]) for place in range(len(items))]
    events = [event for item in items for event in decode_events(item.events)]
    done = events.pop()
    assert isinstance(done, Done)
    deltas = [event.text for event in events if isinstance(event, Delta)]
    assert len(events) - len(deltas) == isinstance(events[0], Started) if events else not deltas
    assert done.text_sha256 == text_sha256("".join(deltas))
    assert done.usage.completion_tokens == len(deltas)
    assert done.finish_reason == ("stop" if ended else "cancelled")
    assert (done.receipt is not None) == (done.finish_reason == "cancelled")
    if done.receipt is not None:
        assert done.receipt.delivered == len(deltas)
    front.forget(session)
    return done


async def test_one_terminal_each() -> None:
    chance = random.Random(1)
    broker = MemoryBroker(SystemClock(), Limits())
    front, engine = broker.gateway("g"), Racer(chance)
    runner = Runner(broker.worker("w"), engine, SystemClock(), slots=AT_ONCE, lease=3.0, watch=Watch())
    working = asyncio.ensure_future(runner.run())
    ends: list[Done] = []
    for start in range(0, RACES, AT_ONCE):
        races = (race(front, f"s{number}", chance) for number in range(start, start + AT_ONCE))
        ends += await asyncio.gather(*races)
    stats = await front.stats()
    assert (stats.running, stats.queued, stats.sessions) == (0, 0, 0)
    assert runner._runs == {}
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    broker.close()

    receipts = [end.receipt for end in ends if end.receipt is not None]
    assert len(ends) == RACES
    assert RACES / 5 < len(receipts) < RACES * 4 / 5  # each wins often: these were races
    generated = [receipt.generated for receipt in receipts if receipt.generated is not None]
    assert len(generated) == len(receipts)  # the worker answered every cancel
    finished = sum(end.usage.completion_tokens for end in ends if end.receipt is None)
    assert sum(generated) + finished == sum(engine.made)
    assert sum(generated) > sum(receipt.delivered for receipt in receipts)  # some were on their way when it came
