"""Who may write, what fits, and what becomes of a lease: the corners that the model reaches too seldom."""

from collections.abc import Callable

import pytest

from shared.brokers.state import Limits
from shared.messages import Done, Failed, Refusal, decode_events
from tests.shared.brokers.state.builders import Desk, flush

SMALL = Limits(session_bytes=300, kept_bytes=3_000)


def end(desk: Desk) -> Done | Failed:
    event = decode_events(desk.items()[-1].events)[-1]
    assert isinstance(event, Done | Failed)
    return event


def crash(desk: Desk, worker: str = "w") -> None:
    """It is buried, and a new process of that name comes."""
    desk.state.bury(worker)
    desk.seen[worker] = 0


def test_a_lease_names_the_times_until_it() -> None:
    desk = Desk()
    desk.submit()
    desk.clock.advance(2.0)
    first = desk.lease()
    assert (first.waited_ms, first.queue_ms) == (2000, 2000)
    desk.clock.advance(1.0)
    desk.state.release([first.number])
    second = desk.lease()
    assert (second.waited_ms, second.queue_ms) == (3000, 2000)


def test_a_lease_number_says_nothing_to_another_memory() -> None:
    """A release that was on its way when the broker was restarted must not hit somebody's new lease."""
    numbers = set()
    for _ in range(3):
        desk = Desk()
        desk.submit()
        numbers.add(desk.lease().number)
    assert len(numbers) == 3


def test_settled_leases_make_room_for_the_poll_that_waits() -> None:
    desk = Desk()
    for session in ("s", "t"):
        desk.submit(session)
    lease = desk.lease()
    number = desk.state.poll("w", desk.seen["w"], None, 0, False)
    assert desk.state.polled("w", number, final=False) is None
    desk.state.append([flush(lease, 0, "text", end=True)])
    assert desk.state.take_wake() >= {"w"}
    polled = desk.state.polled("w", number, final=False)
    assert polled is not None
    assert [lease.session for lease in polled.leases] == ["t"]


def test_a_lease_that_ends_before_it_was_collected_is_not_handed_out() -> None:
    """Between the wake and the moment in which the wrapper asks, anything may happen."""
    desk = Desk()
    number = desk.state.poll("w", 0, None, 1, False)
    desk.submit()
    desk.state.forget("s")
    polled = desk.state.polled("w", number, final=False)
    assert polled is not None
    assert polled.leases == []


def test_the_freest_worker_is_served_first() -> None:
    desk = Desk()
    numbers = {worker: desk.state.poll(worker, 0, None, free, False) for worker, free in (("w", 1), ("w2", 3))}
    for session in ("s", "t"):
        desk.submit(session)
    polled = desk.state.polled("w2", numbers["w2"], final=False)
    assert polled is not None
    assert len(polled.leases) == 2


def test_a_repeat_is_fine_even_behind_a_cancel_and_a_release() -> None:
    desk = Desk()
    desk.submit()
    lease = desk.lease()
    sent = flush(lease, 0, "text")
    assert desk.state.append([sent]) == []
    desk.state.cancel("s", "m1")
    assert desk.state.append([sent]) == []
    desk.state.release([lease.number])
    assert len(desk.items()) == 2


def test_the_repeat_of_a_terminal_is_fine() -> None:
    """Its lease is settled, but the worker may not have heard it."""
    desk = Desk()
    desk.submit()
    lease = desk.lease()
    sent = [flush(lease, 0, "text"), flush(lease, 1, end=True)]
    assert desk.state.append(sent) == []
    stored = desk.items()
    assert desk.state.append(sent) == []
    assert desk.items() == stored
    assert desk.state.append([flush(lease, 2, "late")]) == [Refusal(0, "fenced")]


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_another_attempt_has_begun_or_the_broker_has_ended_knows_no_repeats(cancelled: bool) -> None:
    """Though the first item of the newer attempt has the same place and size."""
    desk = Desk()
    desk.submit()
    lease = desk.lease()
    sent = flush(lease, 0, "text")
    desk.state.append([sent])
    desk.state.release([lease.number])
    assert desk.state.append([sent]) == []
    if cancelled:
        desk.state.cancel("s", "m1")
    else:
        desk.state.append([flush(desk.lease(), 0, "other")])
    assert [(item.first, item.count) for item in desk.items()] == [(0, 1), (0, 1)]
    assert desk.state.append([sent]) == [Refusal(0, "fenced")]


def test_one_refusal_does_not_touch_its_neighbours() -> None:
    desk = Desk()
    leases = []
    for session in ("s", "t"):
        desk.submit(session)
        leases.append(desk.lease())
    flushes = [
        flush(leases[0], 0, "a"),
        flush(leases[0], 5, "hole"),
        flush(leases[1], 0, "b"),
        flush(leases[0], 1, "c"),
    ]
    assert desk.state.append(flushes) == [Refusal(1, "fenced")]
    assert [stored.count for stored in desk.items("s")] == [1, 1]
    assert len(desk.items("t")) == 1


def test_a_flush_without_events_is_refused() -> None:
    desk = Desk()
    desk.submit()
    assert desk.state.append([flush(desk.lease(), 0)]) == [Refusal(0, "fenced")]


def test_a_cancelled_reply_takes_only_the_terminal_and_that_alone() -> None:
    desk = Desk()
    desk.submit()
    lease = desk.lease()
    desk.state.cancel("s", "m1")
    desk.clock.advance(0.5)
    assert desk.state.append([flush(lease, 0, "text")]) == [Refusal(0, "cancelled", 500)]
    assert desk.state.append([flush(lease, 0, "text", end=True)]) == [Refusal(0, "cancelled", 500)]
    assert desk.state.append([flush(lease, 0, end=True)]) == []


def test_a_second_cancel_grants_no_second_second() -> None:
    desk = Desk()
    desk.submit()
    desk.lease()
    desk.state.cancel("s", "m1")
    desk.pass_time(0.75)
    desk.state.cancel("s", "m1")
    desk.pass_time(0.25)
    assert isinstance(end(desk), Done)


@pytest.mark.parametrize("cancelled", [False, True])
def test_at_the_bound_of_a_session_its_terminal_still_fits(cancelled: bool) -> None:
    desk = Desk(SMALL)
    desk.submit()
    lease = desk.lease()
    assert desk.state.append([flush(lease, 0, "x" * 290)]) == []
    if cancelled:
        desk.state.cancel("s", "m1")
    assert desk.state.append([flush(lease, 1, end=True)]) == []
    assert desk.poll().lost == []
    assert desk.items()[-1].attempt == lease.attempt


def test_beyond_the_bound_a_running_one_ends_with_length() -> None:
    desk = Desk(SMALL)
    desk.submit()
    lease = desk.lease()
    assert desk.state.append([flush(lease, 0, "x" * 200), flush(lease, 1, "y" * 200)]) == [Refusal(1, "fenced")]
    done = end(desk)
    assert isinstance(done, Done)
    assert done.finish_reason == "length"
    assert desk.poll().lost == [lease.number]


def test_terminals_of_the_broker_count_against_the_bound_of_a_session() -> None:
    """Submit and cancel, again and again, must not fill the memory."""
    desk = Desk(SMALL)
    for number in range(50):
        desk.submit(id=f"m{number}")
        desk.state.cancel("s", f"m{number}")
    assert sum(len(stored.events) for stored in desk.items()) <= SMALL.session_bytes
    assert desk.items()[-1].id == "m49"


def test_the_oldest_ended_replies_of_all_sessions_make_room() -> None:
    desk = Desk(SMALL)
    for number in range(20):
        session = f"s{number}"
        desk.submit(session)
        lease = desk.lease()
        desk.state.append([flush(lease, 0, "x" * 100), flush(lease, 1, end=True)])
        desk.clock.advance(1.0)
    stored = [number for number in range(20) if desk.items(f"s{number}")]
    assert stored == list(range(stored[0], 20))
    assert 0 < desk.state.stats().kept_bytes <= SMALL.kept_bytes + 1_000


@pytest.mark.parametrize(("crashes", "runs_alone"), [(1, False), (2, True)])
def test_what_crashed_twice_runs_alone(crashes: int, runs_alone: bool) -> None:
    desk = Desk()
    desk.submit()
    for _ in range(crashes):
        desk.lease()
        crash(desk)
    assert desk.state.stats().suspects == runs_alone
    assert bool(desk.poll("w").leases) is not runs_alone
    assert bool(desk.poll("alone").leases) is runs_alone


def test_only_a_piece_beyond_the_furthest_clears_the_suspicion() -> None:
    desk = Desk()
    desk.submit()
    desk.state.append([flush(desk.lease(), 0, "a", "b")])
    crash(desk)
    for _ in range(2):
        assert desk.state.stats().suspects == 0
        desk.state.append([flush(desk.lease(), 0, "a", "b", pieces=2)])  # a restart that got no further
        crash(desk)
    assert desk.state.stats().suspects == 1
    desk.state.append([flush(desk.lease("alone"), 0, "a", "b", "c", pieces=3)])
    crash(desk, "alone")
    assert desk.state.stats().suspects == 0
    assert desk.lease().attempt == 5


def test_who_has_got_on_is_no_suspect_because_its_neighbour_kills_twice() -> None:
    """A poison message takes its process along at once, and again before the others can say anything."""
    desk = Desk()
    for session in ("calm", "poison"):
        desk.submit(session)
    calm, _ = desk.poll(free=2).leases
    desk.state.append([flush(calm, 0, "a")])
    for _ in range(2):
        assert desk.state.stats().suspects == 0
        crash(desk)
        again = desk.poll(free=2).leases
    assert [lease.session for lease in again] == ["calm"]
    assert [lease.session for lease in desk.poll("alone").leases] == ["poison"]


def expire(desk: Desk, worker: str) -> None:
    """It is not heard of any more, and nobody reports its death."""
    desk.pass_time(desk.limits.lease)


@pytest.mark.parametrize("end_of", [crash, expire])
def test_crashes_and_expiries_alike_end_it_at_the_third_in_a_row(end_of: Callable[[Desk, str], None]) -> None:
    desk = Desk()
    desk.submit()
    for worker in ("w", "w2", "alone"):
        desk.lease(worker)
        assert not desk.items()
        end_of(desk, worker)
    failed = end(desk)
    assert isinstance(failed, Failed)
    assert failed.code == "worker_lost"


def drain(desk: Desk) -> None:
    """A worker hands it back."""
    desk.state.release([desk.lease().number])


def leave(desk: Desk) -> None:
    """A worker says goodbye with it in hand."""
    desk.lease("w2")
    desk.state.leave_worker("w2")
    desk.seen["w2"] = 0


def miss(desk: Desk) -> None:
    """The answer that leased it never arrived: the next poll has not seen it."""
    desk.lease("w2")
    desk.seen["w2"] -= 1
    desk.poll("w2", free=0)


@pytest.mark.parametrize("handing_back", [drain, leave, miss])
def test_what_is_handed_back_is_no_attempt_and_clears_no_suspicion(handing_back: Callable[[Desk], None]) -> None:
    desk = Desk(Limits(max_attempts=3))
    desk.submit()
    for _ in range(5):
        handing_back(desk)
    desk.lease()
    crash(desk)
    for _ in range(5):
        handing_back(desk)
    assert desk.state.stats().suspects == 0
    assert not desk.items()
    desk.lease()
    crash(desk)
    assert desk.state.stats().suspects == 1
    desk.state.release([desk.lease("alone").number])
    assert desk.state.stats().suspects == 1


def test_attempts_in_all_are_limited() -> None:
    desk = Desk(Limits(max_attempts=4))
    desk.submit()
    for number in range(1, 5):
        lease = desk.lease()
        assert lease.attempt == number
        desk.state.append([flush(lease, 0, "text", pieces=number)])
        crash(desk)
    failed = end(desk)
    assert isinstance(failed, Failed)
    assert failed.code == "worker_lost"
    assert desk.poll().leases == []
