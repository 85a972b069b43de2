"""G1 to G5 on every broker: what becomes of a message."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from shared.errors import Busy, Expired, SessionNotFound, UnknownId
from shared.messages import Delta, Done, Failed, Receipt, Started, Submission, decode_events, text_of, text_sha256
from tests.contracts.brokers import LEASE, Attempt, Back, Stage, Start, settings, short_queue

# --- G1: submit is idempotent, and what is accepted ends -----------------------------------------------------------


async def test_g1_the_same_id_never_runs_twice(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    first = await front.submit("m1")
    again = await front.submit("m1")
    assert (first.repeated, again.repeated, again.ended) == (False, True, False)
    assert again.generation == first.generation
    attempt = await back.lease()
    assert attempt.lease.request == b"request m1"
    await attempt.add("text", end=True)
    ended = await front.submit("m1")
    assert (ended.generation, ended.repeated, ended.ended) == (first.generation, True, True)
    await back.idle()


async def test_g1_the_id_is_looked_up_before_busy_or_not(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    await (await back.lease()).add(end=True)
    running = await front.submit("m2")
    assert (await front.submit("m1")).ended
    assert (await front.submit("m2")).generation == running.generation


async def test_g1_generations_go_up_above_the_floor(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    floor = 9_000_000_000_000
    first = await front.submit("m1", floor=floor)
    await (await back.lease()).add(end=True)
    second = await front.submit("m2")
    assert floor < first.generation < second.generation


async def test_g1_generations_go_up_above_what_a_gateway_opens_the_session_with(stage: Stage) -> None:
    front, other, back = await stage.front(), await stage.front("gateway-2"), await stage.back()
    await front.chat()
    floor = 9_000_000_000_000
    for known in (floor, floor - 1000):  # which says nothing new
        await other.side.open("s", "ann", None, None, known)
    first = await front.submit("m1")
    await (await back.lease()).add(end=True)
    await other.side.open("s", "ann", None, None, floor)
    assert floor < first.generation < (await front.submit("m2")).generation


async def test_g1_what_no_worker_takes_ends_expired(start: Start) -> None:
    stage = await start(settings(**short_queue(timeout=0.1)))
    front = await stage.front()
    await front.chat()
    await front.submit("m1")
    assert await front.drain_end("m1") == Failed("expired", Expired.sentence, True)
    assert (await front.submit("m1")).ended


async def test_an_unknown_session_is_said(stage: Stage) -> None:
    side = (await stage.front()).side
    for attempt in (
        side.submit(Submission("nobody", "m1", 0, b"")),
        side.cancel("nobody", "m1"),
        side.attach("nobody", None),
        side.read("nobody", None, 1),
    ):
        with pytest.raises(SessionNotFound):
            await attempt
    await side.detach("nobody")
    await side.forget("nobody")
    assert await side.newest(["nobody"]) == [-1]


async def test_calls_arrive_in_the_order_in_which_they_are_made(stage: Stage) -> None:
    """Nobody waits for an answer before the last one."""
    front = await stage.front()
    await front.chat()
    first = front.side.submit(Submission("s", "m1", 0, b""))
    cancelled = front.side.cancel("s", "m1")
    second = front.side.submit(Submission("s", "m2", 0, b""))
    with pytest.raises(Busy):
        await front.side.submit(Submission("s", "m3", 0, b""))
    assert (first.result().ended, cancelled.result(), second.result().ended) == (False, True, False)


# --- G2: order -------------------------------------------------------------------------------------------------------


async def test_g2_what_is_visible_is_stored_as_it_was_sent(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    sent = []
    for texts in (("a",), ("b", "c"), ("d", "e", "f")):
        sent.append(attempt.flush(*texts))
        await attempt.add(*texts)
        await front.drain_until(lambda: len(front.items) == len(sent))
        assert await front.kept() == front.items
    assert [item.events for item in front.items] == [flush.events for flush in sent]
    assert [item.index for item in front.items] == [0, 1, 2]
    assert [(item.first, item.count) for item in front.items] == [(0, 2), (2, 2), (4, 3)]
    assert decode_events(front.items[0].events) == [Started("echo"), Delta("a")]


async def test_g2_it_can_be_read_again_from_every_position(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    for id in ("m1", "m2"):
        await front.submit(id)
        attempt = await back.lease()
        for texts in (("a",), ("b", "c"), ("d", "e", "f")):
            await attempt.add(*texts)
        await attempt.add(end=True)
    stored = await front.kept()
    positions = [item.cursor.position for item in stored]
    assert positions == sorted(set(positions))
    for limit in (1, 50, 1 << 20):
        for place, item in enumerate(stored):
            assert await front.kept(after=item.cursor, limit=limit) == stored[place + 1 :]
            for seq in range(item.first, item.first + item.count - 1):  # within an item: that whole item again
                assert await front.kept(after=item.cursor._replace(seq=seq), limit=limit) == stored[place:]


# --- G3: fencing -----------------------------------------------------------------------------------------------------


async def by_release(back: Back, attempt: Attempt) -> None:
    await back.side.release([attempt.lease.number])


async def by_burial(back: Back, attempt: Attempt) -> None:
    await back.side.bury("worker-1")


async def by_expiry(back: Back, attempt: Attempt) -> None:
    while attempt.lease.number not in (await back.poll(held=[])).lost:
        pass


async def by_a_lost_answer(back: Back, attempt: Attempt) -> None:
    back.seen -= 1
    await back.poll()


FREEING = [by_release, by_burial, by_expiry, by_a_lost_answer]


@pytest.mark.parametrize("free", FREEING)
@pytest.mark.parametrize("claimed", [False, True], ids=["unclaimed", "claimed"])
async def test_g3_nothing_of_a_zombie_is_stored(
    stage: Stage, free: Callable[[Back, Attempt], Awaitable[None]], claimed: bool
) -> None:
    """It speaks straight to the broker, with all that it knew. The stored bytes are read raw."""
    front, back, other = await stage.front(), await stage.back(), await stage.back("worker-2")
    await front.chat()
    await front.submit("m1")
    zombie = await back.lease()
    if free is not by_a_lost_answer:  # which it could not have used
        assert await zombie.add("before ") == []
    await free(back, zombie)
    heir = await other.lease() if claimed else None
    for flush in (zombie.flush("ZOMBIE"), zombie.flush("ZOMBIE", end=True), zombie.flush(end=True)):
        assert [refusal.reason for refusal in await back.side.append([flush])] == ["fenced"]
    forged = replace(zombie.flush("ZOMBIE", first=0), lease=zombie.lease.number + 1_000)
    assert [refusal.reason for refusal in await back.side.append([forged])] == ["fenced"]
    assert b"ZOMBIE" not in await front.raw()
    assert not any(item.terminal for item in await front.kept())
    heir = heir or await other.lease()
    assert heir.lease.attempt > zombie.lease.attempt
    assert heir.lease.text == zombie.text
    assert await heir.add("after", end=True) == []
    assert text_of(await front.kept()) == zombie.text + "after"
    assert [refusal.reason for refusal in await back.side.append([zombie.flush("ZOMBIE")])] == ["fenced"]
    assert b"ZOMBIE" not in await front.raw()


async def test_g3_a_repeat_is_fine_and_changes_nothing(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    sent = []
    for texts, end in ((("a", "b"), False), (("c",), False), (("d",), True)):
        sent.append(attempt.flush(*texts, end=end))
        await attempt.add(*texts, end=end)
    stored = await front.kept()
    assert await back.side.append(sent) == []
    assert await back.side.append(sent[::-1]) == []
    assert await front.kept() == stored
    await front.drain_end("m1")
    assert front.items == stored


async def test_g3_holes_and_partial_overlaps_are_refused(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("a", "b", "c")
    wrong = [attempt.flush("x", first=first) for first in (1, 2, 3, 5, 100)]
    wrong += [attempt.flush("x", "x", "x", "x", first=0), attempt.flush("x", "x", "x", first=2)]
    refusals = await back.side.append(wrong)
    assert [(refusal.place, refusal.reason) for refusal in refusals] == [(n, "fenced") for n in range(len(wrong))]
    assert text_of(await front.kept()) == "abc"
    assert await attempt.add("d") == []


async def test_g3_the_next_lease_carries_what_is_stored(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    first = await back.lease()
    assert (first.lease.visible, first.lease.text, first.lease.attempt) == (False, "", 1)
    await first.add("one ", "two ")
    await back.side.release([first.lease.number])
    second = await back.lease()
    assert (second.lease.visible, second.lease.text, second.lease.tally.pieces) == (True, "one two ", 2)
    assert second.lease.nonce != first.lease.nonce
    await second.add("anew ", exact=False)
    await back.side.release([second.lease.number])
    third = await back.lease()
    assert (third.lease.text, third.lease.tally.pieces) == ("anew ", 1)


# --- G4: terminals ---------------------------------------------------------------------------------------------------


async def test_g4_nothing_is_accepted_behind_a_terminal(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text", end=True)
    stored = await front.kept()
    for flush in (attempt.flush("LATE"), attempt.flush(end=True), attempt.flush("LATE", first=0)):
        assert [refusal.reason for refusal in await back.side.append([flush])] == ["fenced"]
    assert await front.side.cancel("s", "m1")
    assert await front.kept() == stored
    await back.idle()


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_g4_whoever_makes_it_there_is_one(stage: Stage, cancel_first: bool) -> None:
    """The worker's terminal and the cancel are on their way at the same time."""
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text")
    if cancel_first:
        await asyncio.gather(front.side.cancel("s", "m1"), back.side.append([attempt.flush(end=True)]))
    else:
        await asyncio.gather(back.side.append([attempt.flush(end=True)]), front.side.cancel("s", "m1"))
    await front.drain_end("m1")
    await front.submit("m2")
    assert [item.id for item in await front.kept() if item.terminal] == ["m1"]
    assert sum(item.terminal for item in front.items) == 1


# --- G5: cancel ------------------------------------------------------------------------------------------------------


def assert_cancelled(event: object, text: str, receipt: Receipt) -> None:
    assert isinstance(event, Done)
    assert (event.finish_reason, event.receipt) == ("cancelled", receipt)
    assert event.text_sha256 == text_sha256(text)


async def test_g5_a_queued_one_ends_at_once(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    assert await front.side.cancel("s", "m1")
    assert_cancelled(decode_events((await front.kept())[0].events)[0], "", Receipt(0, 0, 0))
    await back.idle()
    assert (await front.submit("m2")).place == 0


async def test_g5_a_running_one_ends_by_its_worker(stage: Stage) -> None:
    """Who hears of it by poll and by the answer to its append, whichever comes first."""
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text")
    await front.side.cancel("s", "m1")
    polled = await back.poll()
    assert [cancelled.lease for cancelled in polled.cancelled] == [attempt.lease.number]
    assert 0 <= polled.cancelled[0].age_ms < 5_000
    assert [refusal.reason for refusal in await attempt.add("more")] == ["cancelled"]
    assert [refusal.reason for refusal in await attempt.add("more", end=True)] == ["cancelled"]
    assert await attempt.add(end=True) == []
    assert isinstance(await front.drain_end("m1"), Done)
    assert text_of(await front.kept()) == "text"
    await back.idle()


async def test_g5_a_silent_worker_does_not_hold_it_up(stage: Stage) -> None:
    """Its lease is renewed all the while, but it never says the end: the broker does."""
    front, back, other = await stage.front(), await stage.back(), await stage.back("worker-2")
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("some ", "text")
    loop = asyncio.get_running_loop()
    await front.side.cancel("s", "m1")
    asked_at = loop.time()
    ending = asyncio.ensure_future(front.drain_end("m1"))
    while not ending.done():
        await back.side.renew([attempt.lease.number])
        await asyncio.wait([ending], timeout=LEASE / 4)
    assert loop.time() - asked_at >= 0.9  # the worker had its second
    assert_cancelled(ending.result(), "some text", Receipt(None, 2, None))
    assert [refusal.reason for refusal in await attempt.add(end=True)] == ["fenced"]
    await other.idle()  # no takeover


@pytest.mark.parametrize("free", FREEING[:3])
async def test_g5_never_a_takeover_after_a_cancel(
    stage: Stage, free: Callable[[Back, Attempt], Awaitable[None]]
) -> None:
    front, back, other = await stage.front(), await stage.back(), await stage.back("worker-2")
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text")
    await front.side.cancel("s", "m1")
    await free(back, attempt)
    assert_cancelled(await front.drain_end("m1"), "text", Receipt(None, 1, None))
    await other.idle()


async def test_g5_one_that_comes_before_its_submit_is_remembered(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    assert await front.side.cancel("s", "m1") is False
    accepted = await front.submit("m1")
    assert (accepted.repeated, accepted.ended) == (False, True)
    assert_cancelled(await front.drain_end("m1"), "", Receipt(0, 0, 0))
    await back.idle()


async def test_g5_an_ended_id_stays_as_it_is(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    await (await back.lease()).add("text", end=True)
    stored = await front.kept()
    assert await front.side.cancel("s", "m1") is True
    assert await front.kept() == stored
    await front.submit("m2")
    assert (await back.lease()).lease.id == "m2"


async def test_g5_a_cancel_is_told_again_where_the_answer_was_lost(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await front.side.cancel("s", "m1")
    seen = back.seen
    assert (await back.poll()).cancelled
    back.seen = seen
    assert [cancelled.lease for cancelled in (await back.poll()).cancelled] == [attempt.lease.number]
    await attempt.add(end=True)


# --- what was submitted with a note can be recalled ------------------------------------------------------------------


async def test_a_message_with_a_note_is_recalled_as_long_as_its_reply_is_kept(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.side.submit(Submission("s", "m1", 0, b"request 1", b"note 1"))
    running = await front.side.recall("s", "m1")
    assert (running.owner, running.request, running.note) == ("ann", b"request 1", b"note 1")
    assert (running.before, running.ended, running.last) == (None, False, True)
    await (await back.lease()).add("one", end=True)
    await front.side.submit(Submission("s", "m2", 0, b"request 2", b"note 2"))
    await (await back.lease()).add("two", end=True)

    first, second = await front.side.recall("s", "m1"), await front.side.recall("s", "m2")

    assert (first.request, first.ended, first.last) == (b"request 1", True, False)
    assert (second.request, second.ended, second.last) == (b"request 2", True, True)
    page = await front.side.read("s", second.before, 1 << 20)
    assert page.recovered
    assert {item.id for item in page.items} == {"m2"}
    assert page.items[-1].cursor == second.newest


async def test_a_message_whose_note_is_taken_away_is_recalled_no_more(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    for id, note in (("m1", b""), ("m2", b"another")):
        await front.side.submit(Submission("s", id, 0, b"request", b"note"))
        await (await back.lease()).add(end=True)
        await front.side.annotate("s", id, note)
    with pytest.raises(UnknownId):
        await front.side.recall("s", "m1")
    with pytest.raises(UnknownId):
        await front.side.annotate("s", "m1", b"note")
    assert (await front.side.recall("s", "m2")).note == b"another"


async def test_what_came_without_a_note_or_never_is_not_recalled(stage: Stage) -> None:
    front = await stage.front()
    await front.chat()
    await front.submit("m1")
    for id in ("m1", "never"):
        with pytest.raises(UnknownId):
            await front.side.recall("s", id)
    with pytest.raises(SessionNotFound):
        await front.side.recall("nobody", "m1")
