"""The poll loop: what is claimed, renewed, cancelled, lost and handed back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.brokers.memory import MemoryBroker
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.errors import InvalidMessage
from shared.messages import (
    Cancelled,
    Delta,
    Done,
    Flush,
    Receipt,
    Started,
    Submission,
    Takeover,
    decode_events,
    text_of,
    text_sha256,
)
from shared.request import encode_request
from tests.conftest import FakeClock
from tests.worker.fakes import REQUEST, HandBroker, HandEngine, Poll, Watch, lease, turns
from worker.runner import Runner

LEASE = 3.0


class Scene:
    """A runner at work before a broker that the test answers for."""

    def __init__(
        self, clock: FakeClock, engine: HandEngine | None = None, *, easy: bool = True, **options: Any
    ) -> None:
        self.clock = clock
        self.broker = HandBroker(easy=easy)
        self.engine = engine or HandEngine()
        self.watch = Watch()
        self.runner = Runner(self.broker, self.engine, clock, slots=4, lease=LEASE, watch=self.watch, **options)

    @asynccontextmanager
    async def working(self) -> AsyncIterator["Scene"]:
        """Until the end of the block."""
        task = asyncio.ensure_future(self.runner.run())
        await turns()
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def poll(self, seconds: float = 0.0, **news: object) -> Poll:
        """Answer the poll that waits, `seconds` later; returns the next one."""
        self.clock.advance(seconds)
        self.broker.tell(**news)  # type: ignore[arg-type]
        await turns()
        return self.broker.polls[-1]


def texts(flushes: list[Flush], lease: int = 1) -> list[str]:
    events = [event for flush in flushes if flush.lease == lease for event in decode_events(flush.events)]
    return [event.text for event in events if isinstance(event, Delta)]


# --- claiming -------------------------------------------------------------------------------------------------------


async def test_a_lease_becomes_a_run(clock: FakeClock) -> None:
    async with Scene(clock, HandEngine(at_once=["Hi"])).working() as scene:
        assert scene.broker.polls == [Poll(0, None, 4, False)]
        await scene.poll(leases=[lease(5)])
        (flush,) = scene.broker.flushes
        assert decode_events(flush.events) == [Started("hand"), Delta("Hi")]
        assert scene.watch.appends == 1


async def test_free_slots_and_what_was_seen_are_told(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        poll = await scene.poll(leases=[lease(1), lease(2)])
        assert (poll.seen, poll.free_slots) == (1, 2)
        poll = await scene.poll(leases=[lease(3), lease(4)])
        assert (poll.seen, poll.free_slots) == (2, 0)
        scene.engine.sinks[0].finish("stop")
        await turns()
        assert (await scene.poll()).free_slots == 1


async def test_a_process_for_suspects_says_so(clock: FakeClock) -> None:
    async with Scene(clock, alone=True).working() as scene:
        assert scene.broker.polls[0].alone


# --- renewing -------------------------------------------------------------------------------------------------------


async def test_leases_are_named_when_it_is_time_and_not_at_every_poll(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        assert (await scene.poll(leases=[lease(1), lease(2)])).held == [1, 2]
        assert (await scene.poll(0.01)).held is None
        assert (await scene.poll(LEASE / 3)).held == [1, 2]


async def test_between_two_renewals_lies_at_most_half_a_lease(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1)])
        silence = longest = 0.0
        for wait in [0.2, 0.04, LEASE / 3, 0.2, 0.2, LEASE / 3, 0.01, LEASE / 3] * 3:
            silence += wait
            longest = max(longest, silence)
            if (await scene.poll(wait)).held is not None:
                silence = 0.0
        assert longest <= LEASE / 2


async def test_an_engine_past_its_limit_is_renewed_no_longer_and_aborted_when_lost(clock: FakeClock) -> None:
    engine = HandEngine()
    engine.first_piece_limit = 2.0
    async with Scene(clock, engine).working() as scene:
        await scene.poll(leases=[lease(1), lease(2)])
        engine.sinks[1].piece("a")
        assert (await scene.poll(1.5)).held == [1, 2]
        assert (await scene.poll(1.0)).held == [2]
        assert engine.aborted == []
        await scene.poll(lost=[1])
        assert engine.aborted == [0]
        assert texts(scene.broker.flushes) == []


async def test_engines_that_block_have_their_leases_told_before_they_start(clock: FakeClock) -> None:
    engine = HandEngine()
    engine.blocks, engine.first_piece_limit = True, 7.0
    scene = Scene(clock, engine)
    told_at_start: list[object] = []
    engine.on_start = lambda: told_at_start.append(list(scene.watch.told))
    async with scene.working():
        await scene.poll(leases=[lease(1)])
        assert told_at_start == [[({1: 7.0}, False)]]
        await scene.poll(LEASE / 3)
        assert scene.watch.told[-1] == ({1: 6.0}, True)


async def test_others_tell_nothing_of_their_leases(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1)])
        await scene.poll(LEASE)
        assert scene.watch.told == []


# --- cancels and losses ---------------------------------------------------------------------------------------------


async def test_a_cancel_stops_the_engine_and_sends_the_terminal_alone(clock: FakeClock) -> None:
    async with Scene(clock, HandEngine(at_once=["seen"]), easy=False).working() as scene:
        await scene.poll(leases=[lease(1)])
        scene.engine.sinks[0].piece("unsent")
        await scene.poll(cancelled=[Cancelled(1, 20)])
        assert scene.engine.aborted == [0]
        assert len(scene.broker.appends) == 1  # the fate of which decides what the terminal is over
        scene.broker.store()
        await turns()
        (flush,) = scene.broker.appends[1]
        assert (flush.first, flush.count, flush.terminal) == (2, 1, True)
        (done,) = decode_events(flush.events)
        assert isinstance(done, Done)
        assert done.text_sha256 == text_sha256("seen")
        assert done.receipt == Receipt(2, 1, 20)
        scene.broker.store()
        await turns()
        assert (await scene.poll()).free_slots == 4


async def test_news_of_leases_that_are_gone_is_no_news(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(cancelled=[Cancelled(9, 20)], lost=[8])
        assert (await scene.poll()).free_slots == 4


async def test_lease_and_cancel_may_come_together(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1)], cancelled=[Cancelled(1, 5)])
        assert [flush.terminal for flush in scene.broker.flushes] == [True]


async def test_a_lost_lease_is_given_up_in_silence(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1)])
        scene.broker.appends.clear()
        scene.engine.sinks[0].piece("a")
        poll = await scene.poll(lost=[1])
        assert scene.engine.aborted == [0]
        scene.engine.sinks[0].piece("b")
        await turns()
        assert "b" not in texts(scene.broker.flushes)
        assert poll.free_slots == 4


async def test_a_broker_that_forgot_all_makes_the_worker_forget_too(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1), lease(2)])
        poll = await scene.poll(leases=[lease(1, id="new")], epoch="e2")
        assert scene.engine.aborted == [0, 1]
        assert poll.free_slots == 3
        scene.broker.appends.clear()
        for place, text in enumerate("old"):
            scene.engine.sinks[place].piece(text)
        await turns()
        assert [(flush.lease, flush.first) for flush in scene.broker.flushes] == [(1, 1)]
        assert texts(scene.broker.flushes) == ["d"]


async def test_an_answered_poll_says_that_the_link_is_back(clock: FakeClock) -> None:
    async with Scene(clock, easy=False).working() as scene:
        await scene.poll(leases=[lease(1)])
        scene.broker.lose()
        await turns()
        assert len(scene.broker.appends) == 1
        await scene.poll()
        assert scene.broker.appends[1] == scene.broker.appends[0]
        scene.broker.store()


async def test_what_cannot_be_mended_ends_the_work(clock: FakeClock) -> None:
    scene = Scene(clock, easy=False)
    working = asyncio.ensure_future(scene.runner.run())
    await turns()
    await scene.poll(leases=[lease(1)])
    scene.broker.lose(InvalidMessage())
    with pytest.raises(InvalidMessage):
        await asyncio.wait_for(working, 1)


# --- stopping -------------------------------------------------------------------------------------------------------


async def test_draining_claims_nothing_and_waits_for_what_runs(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1)])
        draining = asyncio.ensure_future(scene.runner.drain(10))
        await turns()
        assert (await scene.poll(leases=[lease(2)])).free_slots == 0
        assert scene.broker.released == [2]
        assert not draining.done()
        scene.engine.sinks[0].finish("stop")
        await asyncio.wait_for(draining, 1)
        assert scene.broker.released == [2]
        assert scene.broker.flushes[-1].terminal


async def test_what_is_not_finished_in_time_is_flushed_and_handed_back(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1), lease(2)])
        scene.engine.sinks[0].piece("last words")
        await scene.runner.drain(0)
        assert texts(scene.broker.flushes) == ["last words"]
        assert scene.engine.aborted == [0, 1]
        assert scene.broker.released == [1, 2]
        assert not any(flush.terminal for flush in scene.broker.flushes)


async def test_a_broker_that_does_not_answer_holds_up_nobody(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runner.LAST_FLUSH", 0.01)
    async with Scene(clock, easy=False).working() as scene:
        await scene.poll(leases=[lease(1)])
        await scene.runner.drain(0)
        assert scene.broker.released == [1]


async def test_idle_means_without_work_for_the_whole_time(clock: FakeClock) -> None:
    async with Scene(clock).working() as scene:
        await scene.poll(leases=[lease(1)])
        idle = asyncio.ensure_future(scene.runner.idle(0.01))
        await asyncio.sleep(0.03)
        assert not idle.done()
        scene.engine.sinks[0].finish("stop")
        await asyncio.wait_for(idle, 1)


# --- with a real broker ---------------------------------------------------------------------------------------------


async def test_two_workers_and_the_death_of_one() -> None:
    broker = MemoryBroker(SystemClock(), Limits())
    gateway = broker.gateway("g")
    await gateway.open("s", "owner", None, None)
    first, second = (HandEngine(continues=True, at_once=[text]) for text in ("Hel", "lo"))
    runners = [
        Runner(broker.worker(name), engine, SystemClock(), slots=1, lease=3.0, watch=Watch())
        for name, engine in (("w1", first), ("w2", second))
    ]
    dying = asyncio.ensure_future(runners[0].run())
    await gateway.submit(Submission("s", "m1", 0, encode_request(REQUEST)))
    await turns()
    dying.cancel()
    living = asyncio.ensure_future(runners[1].run())
    await broker.worker("supervisor").bury("w1")
    await turns()
    second.sinks[0].finish("stop")
    await turns()
    items = (await gateway.read("s", None, 1 << 20)).items
    events = [event for item in items for event in decode_events(item.events)]
    assert events[:4] == [Started("hand"), Delta("Hel"), Takeover(True), Delta("lo")]
    assert text_of(items) == "Hello"
    assert items[-1].terminal
    for task in (living, dying):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    broker.close()
