"""What a worker's poll is told, and what an answer that was lost means."""

from shared.brokers.state.seat import Held, Seat
from shared.messages import Lease, Polled, Tally
from tests.shared.brokers.state.builders import reply, session


def give(seat: Seat, number: int) -> Held:
    """A lease, as Lifecycle does it."""
    made = reply(session(f"s{number}"))
    held = Held(number, made, seat, 100.0)
    made.held = seat.held[number] = held
    seat.leases.append(Lease(number, f"s{number}", 1, 1, "n", "m1", b"", "", Tally(), False, 0, 0))
    return held


def park(seat: Seat, seen: int) -> list[int]:
    return [held.number for held in seat.park(seen, 1, False, 0.0)]


def test_a_poll_waits_until_there_is_something_to_tell() -> None:
    seat = Seat("w", 0.0)
    park(seat, 0)
    assert seat.answer("e", seat.polls, 1.0) is None
    assert seat.parked
    give(seat, 7)
    polled = seat.answer("e", seat.polls, 2.0)
    assert polled is not None
    assert [lease.number for lease in polled.leases] == [7]
    assert (seat.parked, seat.seen_at) == (False, 2.0)


def test_what_was_seen_is_not_freed_by_the_next_poll() -> None:
    seat = Seat("w", 0.0)
    park(seat, 0)
    give(seat, 7)
    number = seat.answer_now("e", 0.0).number
    assert park(seat, number) == []
    assert 7 in seat.held


def test_what_a_lost_answer_gave_is_freed_by_the_next_poll() -> None:
    seat = Seat("w", 0.0)
    park(seat, 0)
    seen = seat.answer_now("e", 0.0).number
    park(seat, seen)
    give(seat, 7)
    seat.answer_now("e", 0.0)
    assert park(seat, seen) == [7]
    assert park(seat, seen) == []  # only once


def test_a_lease_that_has_not_been_told_waits_for_the_next_poll() -> None:
    """It was assigned while the wrapper had not yet come to collect the answer."""
    seat = Seat("w", 0.0)
    park(seat, 0)
    give(seat, 7)
    assert park(seat, 0) == []
    assert [lease.number for lease in seat.answer_now("e", 0.0).leases] == [7]


def test_a_lease_that_is_over_before_it_was_told_is_not_told() -> None:
    seat = Seat("w", 0.0)
    park(seat, 0)
    over, good = give(seat, 7), give(seat, 8)
    seat.settle(over)
    assert [lease.number for lease in seat.answer_now("e", 0.0).leases] == [8]
    assert list(seat.held.values()) == [good]


def test_an_outdated_poll_takes_nothing() -> None:
    seat = Seat("w", 0.0)
    park(seat, 0)
    outdated = seat.polls
    park(seat, 0)
    give(seat, 7)
    assert seat.answer("e", outdated, 0.0) == Polled("e", outdated, [], [], [])
    assert [lease.number for lease in seat.answer_now("e", 0.0).leases] == [7]


def test_cancels_are_told_again_until_they_arrive_and_only_of_what_is_held() -> None:
    seat = Seat("w", 0.0)
    park(seat, 0)
    held, over = give(seat, 7), give(seat, 8)
    held.reply.cancel_at = over.reply.cancel_at = 1.0
    seen = seat.answer_now("e", 1.0).number
    park(seat, seen)
    seat.cancelled += [held, over]
    seat.settle(over)
    for _ in range(2):
        told = seat.answer_now("e", 1.5).cancelled
        assert [(cancelled.lease, cancelled.age_ms) for cancelled in told] == [(7, 500)]
        park(seat, seen)
    park(seat, seat.answer_now("e", 1.5).number)
    assert seat.answer_now("e", 1.5).cancelled == []


def test_numbers_go_on_behind_what_the_worker_has_seen_elsewhere() -> None:
    """A worker that links to a new memory keeps its count; the first answer there must not look old to it."""
    seat = Seat("w", 0.0)
    assert park(seat, 41) == []
    assert seat.polls == 42
