"""G8, G9, G11 on every broker: every event reaches every reader once, loss is said, nothing is left."""

import asyncio

import pytest

from shared.errors import SessionNotFound
from shared.messages import Cursor, Item
from tests.contracts.brokers import Attempt, Back, Front, Mortal, Stage, Start, settings, short_memory

# --- G8: delivery ----------------------------------------------------------------------------------------------------


async def write(attempt: Attempt, items: int, beat: asyncio.Event) -> None:
    """As fast as the broker answers; `beat` is set after each tenth."""
    for number in range(items):
        assert await attempt.add(f"piece {number} ") == []
        if number % 10 == 9:
            beat.set()
            await asyncio.sleep(0)
    assert await attempt.add(end=True) == []
    beat.set()


def assert_whole(items: list[Item], stored: list[Item]) -> None:
    assert [item.index for item in items] == list(range(len(stored)))
    assert items == stored


async def test_g8_every_gateway_gets_every_item_once(stage: Stage) -> None:
    fronts, back = [await stage.front(f"gateway-{number}") for number in range(3)], await stage.back()
    for front in fronts:
        await front.chat()
    await fronts[0].side.attach("s", None)  # twice is one subscription
    await fronts[0].submit("m1")
    await asyncio.gather(write(await back.lease(), 50, asyncio.Event()), *(front.drain_end("m1") for front in fronts))
    stored = await fronts[0].kept()
    for front in fronts:
        assert_whole(front.items, stored)


async def follow(stage: Stage, name: str, beat: asyncio.Event) -> list[Item]:
    """A gateway that comes while the reply is being written: what the page holds, then what the batches bring."""
    front = await stage.front(name)
    await beat.wait()
    draining = asyncio.ensure_future(front.drain_end("m1"))
    attached = await front.side.attach("s", None)
    items = list(attached.page.items)
    while attached.newest > (items[-1].index if items else -1):
        page = await front.side.read("s", items[-1].cursor if items else None, 1 << 20)
        items += page.items
    ended = any(item.terminal for item in items)
    if ended:
        draining.cancel()
    await asyncio.wait([draining])
    live = [item for item in front.items if item.index > items[-1].index]
    assert [item.index for item in front.items] == sorted({item.index for item in front.items})
    assert not front.items or front.items[0].index == attached.newest + 1  # no gap between the two, and no double
    return items + live


async def test_g8_attaching_in_mid_reply_has_no_gap_and_no_double(stage: Stage) -> None:
    front, back = await stage.front("gateway-0"), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    beats = [asyncio.Event() for _ in range(4)]
    followers = [asyncio.ensure_future(follow(stage, f"gateway-{n}", beat)) for n, beat in enumerate(beats, 1)]
    for beat in beats:
        for number in range(20):
            assert await attempt.add(f"piece {number} ") == []
            if number == 10:
                beat.set()
    await attempt.add(end=True)
    stored = await front.kept()
    for items in await asyncio.gather(*followers):
        assert_whole(items, stored)


async def test_g8_attach_says_what_the_session_is(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    empty = await front.chat(owner="ann")
    assert (empty.owner, empty.system, empty.model) == ("ann", "be kind", "echo")
    assert (empty.open, empty.newest, empty.running, empty.ended, empty.page.items) == ([], -1, 0, 0, [])
    first = await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text")
    running = await front.side.attach("s", None)
    assert (running.open, running.newest, running.running, running.ended) == (["m1"], 0, first.generation, 0)
    await attempt.add(end=True)
    ended = await front.side.attach("s", (await front.kept())[0].cursor)
    assert (ended.open, ended.newest, ended.running, ended.ended) == ([], 1, 0, first.generation)
    assert [item.index for item in ended.page.items] == [1]
    assert await front.side.newest(["s", "nobody"]) == [1, -1]


async def test_g8_nothing_comes_of_a_session_that_was_left(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t"):
        await front.chat(session)
        await front.submit("m1", session)
    await front.side.detach("s")
    for _ in range(2):
        await (await back.lease()).add("text", end=True)
    await front.drain_end("m1", "t")
    assert {item.session for item in front.items} == {"t"}
    assert (await front.kept("s"))[0].terminal


async def test_g8_one_batch_brings_what_has_gathered(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    for _ in range(5):
        await attempt.add("text ")
    assert len((await front.drain()).items) == 5


async def test_g8_a_drain_that_waits_is_woken(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    draining = asyncio.ensure_future(front.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    await attempt.add("text")
    async with asyncio.timeout(1):  # a drain waits for two seconds
        assert len((await draining).items) == 1


async def test_g8_after_a_broken_link_the_subscriptions_are_gone_and_nothing_else(mortal: tuple[Stage, Mortal]) -> None:
    """The drain that was outstanding on the old link takes nothing that the new one should bring."""
    stage, broker = mortal
    front, other, back = await stage.front(), await stage.front("gateway-2"), await stage.back()
    for gateway in (front, other):
        await gateway.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("before ")
    await front.drain()
    draining = asyncio.ensure_future(front.drain())
    await asyncio.sleep(0.01)
    broker.cut(front.side)
    await attempt.add("meanwhile ")
    batch = await draining
    assert (batch.lost, batch.items) == (True, [])
    assert batch.epoch == front.batches[0].epoch
    page = (await front.side.attach("s", front.items[-1].cursor)).page
    assert page.recovered
    await attempt.add("after", end=True)
    await front.drain_end("m1")
    stored = await front.kept()
    assert_whole([front.items[0], *page.items, *front.items[1:]], stored)
    await other.drain_end("m1")
    assert_whole(other.items, stored)


# --- G9: loss is said ------------------------------------------------------------------------------------------------


async def test_g9_after_must_name_a_stored_event(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    await (await back.lease()).add("a", "b", end=True)
    stored = await front.kept()
    last = stored[-1].cursor
    wrong = [
        last._replace(nonce="00000000" if last.nonce != "00000000" else "11111111"),
        last._replace(seq=last.seq + 1),
        last._replace(attempt=last.attempt + 1),
        last._replace(generation=last.generation - 1),
    ]
    for cursor in wrong:
        for page in (await front.side.read("s", cursor, 1 << 20), (await front.side.attach("s", cursor)).page):
            assert (page.recovered, page.items) == (False, stored)
    page = await front.side.read("s", last, 1 << 20)
    assert (page.recovered, page.items, page.more) == (True, [], False)


async def test_g9_what_has_expired_is_said(start: Start) -> None:
    stage = await start(settings(lease=1, **short_memory(retention=0.3)))
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("a")
    await attempt.add("b", end=True)
    first, floor = [item.cursor for item in await front.kept()]
    while await front.kept():
        await front.drain()
    assert (await front.side.read("s", first, 1)).recovered is False
    assert (await front.side.read("s", floor, 1)).recovered is True
    again = await front.submit("m1")  # its id is known as long as its reply is kept
    assert (again.repeated, again.generation > floor.generation) == (False, True)
    await (await back.lease()).add("c")
    kept = await front.kept()
    page = await front.side.read("s", first, 1 << 20)
    assert (page.recovered, page.items) == (False, kept)
    page = await front.side.read("s", floor, 1 << 20)
    assert (page.recovered, page.items) == (True, kept)
    assert kept[0].index == 2


async def test_g9_a_new_memory_is_said_to_all(mortal: tuple[Stage, Mortal]) -> None:
    """The broker dies; both sides come back by themselves and learn that it has forgotten everything."""
    stage, broker = mortal
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text")
    await front.drain_until(lambda: front.items)
    epoch, known = front.batches[-1].epoch, front.items[-1].cursor
    waiting = asyncio.ensure_future(front.drain()), asyncio.ensure_future(back.poll())
    await asyncio.sleep(0.01)
    broker.die()
    batch, polled = await asyncio.gather(*waiting)
    assert batch.lost
    assert epoch != batch.epoch == polled.epoch
    assert [refusal.reason for refusal in await attempt.add("more")] == ["fenced"]
    with pytest.raises(SessionNotFound):
        await front.side.attach("s", known)
    attached = await front.chat()
    assert (attached.newest, attached.open) == (-1, [])
    page = await front.side.read("s", Cursor(1, 1, 0, "abcdabcd"), 1)
    assert page.recovered is False
    await front.submit("m1", floor=attempt.lease.generation)
    heir = await back.lease()
    assert heir.lease.generation > attempt.lease.generation
    assert heir.lease.number != attempt.lease.number
    await back.side.release([attempt.lease.number])  # on its way since the old days: it names nobody's lease now
    assert await heir.add("text", end=True) == []


# --- G11: nothing is left --------------------------------------------------------------------------------------------


async def start_one(front: Front, back: Back) -> Attempt:
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("SECRET")
    return attempt


async def test_g11_a_forgotten_session_is_gone_and_stays_gone(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    attempt = await start_one(front, back)
    await front.side.forget("s")
    assert [refusal.reason for refusal in await attempt.add("more")] == ["fenced"]
    assert [refusal.reason for refusal in await attempt.add(end=True)] == ["fenced"]
    assert attempt.lease.number in (await back.poll()).lost
    with pytest.raises(SessionNotFound):
        await front.kept()
    with pytest.raises(SessionNotFound):
        await front.submit("m1")
    await back.idle()
    stats = await front.side.stats()
    assert (stats.sessions, stats.running, stats.queued, stats.kept_bytes) == (0, 0, 0, 0)
    attached = await front.chat()
    assert (attached.newest, attached.page.items) == (-1, [])
    again = await front.submit("m2")
    await (await back.lease()).add("text", end=True)
    await front.drain_end("m2")
    assert {item.generation for item in front.items} == {again.generation}  # what was on its way is gone as well
    assert [refusal.reason for refusal in await back.side.append([attempt.flush("LATE")])] == ["fenced"]
    assert b"LATE" not in await front.raw()


async def test_g11_who_follows_a_forgotten_session_is_told_and_does_not_bring_it_back(stage: Stage) -> None:
    front, other = await stage.front(), await stage.front("other")
    attached = await front.chat()
    await other.chat()
    await front.side.forget("s")
    for side in (front, other):
        while not (batch := await side.drain()).gone:
            pass
        assert batch.gone == ["s"]
        with pytest.raises(SessionNotFound):
            await side.side.open("s", "ann", None, None, 0, attached.epoch)
        with pytest.raises(SessionNotFound):
            await side.side.attach("s", None)
    await other.side.open("s", "ann", None, None, 0, "a memory that is lost")
    assert (await other.side.attach("s", None)).newest == -1


async def test_g11_a_forgotten_message_is_taken_out_of_the_queue(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    await front.side.forget("s")
    assert (await front.side.stats()).queued == 0
    await back.idle()


async def test_g11_sessions_that_nobody_follows_go_with_their_last_reply(start: Start) -> None:
    stage = await start(settings(lease=1, **short_memory(retention=0.2)))
    front, back = await stage.front(), await stage.back()
    attempt = await start_one(front, back)
    await attempt.add(end=True)
    await front.side.open("t", "ann", None, None)
    await front.side.detach("s")
    while (await front.side.stats()).sessions:
        await front.drain()
    assert (await front.side.stats()).kept_bytes == 0


async def test_g11_a_session_that_is_followed_stays(start: Start) -> None:
    """Also beyond the retention of what it held, and for whoever comes after the one that followed it."""
    stage = await start(settings(lease=1, **short_memory(retention=0.2)))
    front, other = await stage.front(), await stage.front("gateway-2")
    await front.chat()
    await front.side.open("t", "ann", None, None)
    while (await front.side.stats()).sessions > 1:
        await other.drain()
    await front.side.close()
    assert (await other.chat()).owner == "ann"


async def test_g11_stats_count_who_is_there(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await back.poll()
    stats = await front.side.stats()
    assert (stats.gateways, stats.workers) == (1, 1)
    assert stats == await back.side.stats()
    await back.side.close()
    assert (await front.side.stats()).workers == 0
