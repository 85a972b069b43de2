"""G6, G7, G10 on every broker: who may run what, when, and how much."""

import asyncio

import pytest

from shared.errors import Busy, QueueFull, WorkerLost
from shared.messages import Done, Failed, Submission, decode_events, text_of, text_sha256
from tests.contracts.brokers import LEASE, Attempt, Back, Front, Stage, Start, settings, short_memory, short_queue

# --- G6: leases ------------------------------------------------------------------------------------------------------


async def test_g6_what_is_not_renewed_goes_to_another(stage: Stage) -> None:
    front, back, other = await stage.front(), await stage.back(), await stage.back("worker-2")
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text ")
    heir = await other.lease()
    assert (heir.lease.attempt, heir.lease.text, heir.lease.visible) == (2, "text ", True)
    assert attempt.lease.number in (await back.poll()).lost
    await heir.add("more", end=True)
    assert text_of(await front.kept()) == "text more"


@pytest.mark.parametrize("by_supervisor", [False, True], ids=["by poll", "by its supervisor"])
async def test_g6_what_is_renewed_stays(stage: Stage, by_supervisor: bool) -> None:
    front, back, other = await stage.front(), await stage.back(), await stage.back("worker-2")
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    watching = asyncio.ensure_future(other.idle(polls=5))  # longer than a lease
    while not watching.done():
        if by_supervisor:
            await other.side.renew([attempt.lease.number])
            await asyncio.wait([watching], timeout=LEASE / 4)
        else:
            assert (await back.poll()).lost == []
    await watching
    assert await attempt.add("text", end=True) == []


async def test_g6_only_the_named_ones_are_renewed(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t"):
        await front.chat(session)
        await front.submit("m1", session)
    kept, left = await back.lease(), await back.lease()
    lost: list[int] = []
    while not lost:
        lost = (await back.poll(held=[kept.lease.number])).lost
    assert lost == [left.lease.number]
    assert await kept.add("text") == []


async def test_g6_an_assigned_lease_that_never_arrived_is_free_at_once(stage: Stage) -> None:
    """And nobody is blamed: it may happen again and again."""
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    for attempt in range(1, 6):
        seen = back.seen
        assert (await back.lease()).lease.attempt == attempt
        back.seen, back.held = seen, []
    assert await (await back.lease()).add("text", end=True) == []
    assert isinstance(await front.drain_end("m1"), Done)


async def test_g6_a_release_starts_the_next_attempt_at_once_and_blames_nobody(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    for number in range(1, 6):
        attempt = await back.lease()
        assert attempt.lease.attempt == number
        await back.side.release([attempt.lease.number])
    await (await back.lease()).add("text", end=True)
    assert isinstance(await front.drain_end("m1"), Done)


async def crash(back: Back, attempt: Attempt) -> int:
    """The supervisor's report; a new process of that name comes."""
    back.seen, back.held = 0, []
    return await back.side.bury("worker-1")


async def test_g6_three_deaths_without_progress_end_it(stage: Stage) -> None:
    """What crashed twice goes only to a worker that runs it alone, where it takes nobody along."""
    front, back, cell = await stage.front(), await stage.back(), await stage.back("worker-alone")
    await front.chat()
    await front.submit("m1")
    assert await crash(back, await back.lease()) == 0
    assert await crash(back, await back.lease()) == 1
    assert (await front.side.stats()).suspects == 1
    await back.idle()
    third = await cell.lease(alone=True)
    assert third.lease.attempt == 3
    await cell.side.bury("worker-alone")
    assert await front.drain_end("m1") == Failed("worker_lost", WorkerLost.sentence, WorkerLost.retryable)
    assert [refusal.reason for refusal in await third.add("late")] == ["fenced"]


async def test_g6_progress_forgives_and_the_limit_in_all_does_not(start: Start) -> None:
    stage = await start(settings(max_attempts=5))
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await front.submit("m1")
    for number in range(1, 6):
        attempt = await back.lease()
        assert attempt.lease.attempt == number
        await attempt.add(f"piece {number} ")
        await crash(back, attempt)
    failed = await front.drain_end("m1")
    assert isinstance(failed, Failed)
    assert failed.code == "worker_lost"
    assert text_of(await front.kept()) == "piece 1 piece 2 piece 3 piece 4 piece 5 "


async def test_g6_only_suspects_go_to_who_runs_alone(stage: Stage) -> None:
    front, cell = await stage.front(), await stage.back("worker-alone")
    await front.chat()
    await front.submit("m1")
    for _ in range(2):
        assert (await cell.poll(1, alone=True)).leases == []


async def test_g6_retries_go_first(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t", "u"):
        await front.chat(session)
        await front.submit("m1", session)
    first = await back.lease()
    await back.side.release([first.lease.number])
    assert [(await back.lease()).lease.session for _ in range(3)] == ["s", "t", "u"]


async def test_g6_a_worker_that_leaves_hands_back_what_it_holds(stage: Stage) -> None:
    front, back, other = await stage.front(), await stage.back(), await stage.back("worker-2")
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await back.side.close()
    heir = await other.lease()
    assert heir.lease.attempt == 2
    assert [refusal.reason for refusal in await other.side.append([attempt.flush("late")])] == ["fenced"]


async def test_g6_settling_makes_room_while_the_poll_waits(stage: Stage) -> None:
    """No poll of its own is needed to get the next one."""
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t"):
        await front.chat(session)
        await front.submit("m1", session)
    attempt = await back.lease()
    polling = asyncio.ensure_future(back.poll(0))
    await asyncio.sleep(0.01)
    assert not polling.done()
    await attempt.add("text", end=True)
    assert [lease.session for lease in (await polling).leases] == ["t"]


# --- G7: one running generation per session --------------------------------------------------------------------------


async def test_g7_a_busy_session_refuses(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    await front.chat()
    first = await front.submit("m1")
    for running in (False, True):
        attempt = await back.lease() if running else None
        with pytest.raises(Busy) as busy:
            await front.submit("m2")
        assert busy.value.detail == first.generation
    assert attempt is not None
    await attempt.add(end=True)
    assert not (await front.submit("m2")).repeated


# --- G10: bounds -----------------------------------------------------------------------------------------------------


async def test_g10_the_queue_has_an_end(start: Start) -> None:
    stage = await start(settings(**short_queue(limit=2)))
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t", "u"):
        await front.chat(session)
    assert [(await front.submit("m1", session)).place for session in ("s", "t")] == [0, 1]
    with pytest.raises(QueueFull):
        await front.submit("m1", "u")
    assert (await front.submit("m1", "t")).repeated  # what is known needs no place
    assert (await back.lease()).lease.session == "s"
    assert not (await front.submit("m1", "u")).repeated


async def test_g10_the_queue_is_bounded_by_its_bytes_too(start: Start) -> None:
    """Whichever way one leaves it, there is room again; one alone is never too large."""
    stage = await start(settings(**short_queue(max_bytes=1 << 20)))
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t"):
        await front.chat(session)
    large, rest, id = b"x" * (1 << 21), b"x" * (1 << 19), iter(range(100))

    async def submit(session: str, request: bytes) -> str:
        made = Submission(session, f"m{next(id)}", 0, request)
        await front.side.submit(made)
        return made.id

    async def full() -> None:
        with pytest.raises(QueueFull):
            await submit("t", rest)

    waiting = await submit("s", large)
    await full()
    await front.side.cancel("s", waiting)
    await front.side.cancel("t", await submit("t", rest))
    await submit("s", large)
    attempt = await back.lease()
    await front.side.cancel("t", await submit("t", rest))
    await back.side.release([attempt.lease.number])  # it waits again
    await full()
    attempt = await back.lease()
    await attempt.add(end=True)
    await submit("s", large)
    await full()
    await front.side.forget("s")
    await submit("t", rest)
    assert (await front.side.stats()).queued == 1


async def test_g10_owners_take_turns(stage: Stage) -> None:
    front, back = await stage.front(), await stage.back()
    for session, owner in (("s", "ann"), ("t", "ann"), ("u", "bob")):
        await front.chat(session, owner)
    places = [(await front.submit("m1", session)).place for session in ("s", "t", "u")]
    assert places == [0, 1, 1]
    assert (await front.submit("m1", "t")).place == 2  # bob's goes first
    assert [(await back.lease()).lease.session for _ in range(3)] == ["s", "u", "t"]


async def test_g10_news_of_the_place_travel_in_the_batches(start: Start) -> None:
    stage = await start(settings(lease=3))
    front, back = await stage.front(), await stage.back()
    for session in ("s", "t"):
        await front.chat(session)
        await front.submit("m1", session)
    assert (await back.lease()).lease.session == "s"

    def told() -> list[int]:
        return [place.place for batch in front.batches for place in batch.places if place.session == "t"]

    await front.drain_until(lambda: 0 in told())
    assert told() in ([0], [1, 0])


LARGE = "x" * 9_000


async def fill(front: Front, back: Back, id: str, pieces: int) -> Attempt:
    await front.submit(id)
    attempt = await back.lease()
    for _ in range(pieces):
        await attempt.add(LARGE)
    return attempt


async def test_g10_ended_replies_make_room(start: Start) -> None:
    stage = await start(settings(lease=3, **short_memory(max_bytes=65_536)))
    front, back = await stage.front(), await stage.back()
    await front.chat()
    await (await fill(front, back, "m1", 3)).add(end=True)
    await (await fill(front, back, "m2", 3)).add(end=True)
    attempt = await fill(front, back, "m3", 3)
    stored = await front.kept()
    assert {item.id for item in stored} == {"m2", "m3"}
    assert sum(len(item.events) for item in stored) <= 65_536
    assert await attempt.add(end=True) == []
    assert not (await front.submit("m1")).repeated


async def test_g10_a_running_one_at_its_bound_ends_with_length(start: Start) -> None:
    stage = await start(settings(lease=3, **short_memory(max_bytes=65_536)))
    front, back = await stage.front(), await stage.back()
    await front.chat()
    attempt = await fill(front, back, "m1", 7)
    assert [refusal.reason for refusal in await attempt.add(LARGE)] == ["fenced"]
    assert attempt.lease.number in (await back.poll()).lost
    stored = await front.kept()
    done = decode_events(stored[-1].events)[-1]
    assert isinstance(done, Done)
    assert (done.finish_reason, done.text_sha256) == ("length", text_sha256(LARGE * 7))


async def test_g10_at_the_bound_a_terminal_still_goes_in(start: Start) -> None:
    """The reply is complete: `length` would be a lie."""
    stage = await start(settings(lease=3, **short_memory(max_bytes=65_536)))
    front, back = await stage.front(), await stage.back()
    await front.chat()
    attempt = await fill(front, back, "m1", 7)
    rest = 65_536 - len(await front.raw()) - 40
    assert await attempt.add("x" * rest) == []
    assert await attempt.add(end=True) == []
    done = await front.drain_end("m1")
    assert isinstance(done, Done)
    assert done.finish_reason == "stop"
