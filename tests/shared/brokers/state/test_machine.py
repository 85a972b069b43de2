"""The transitions' corners that the model reaches too seldom, and time."""

import pytest

from shared.brokers.state import Limits
from shared.errors import Busy, QueueFull, SessionNotFound
from shared.messages import Failed, Submission, decode_events
from tests.shared.brokers.state.builders import Desk, flush

# --- submit and cancel -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "floor", "expected"),
    [(5_000, 0, 5_000), (5_000, 9_000, 9_001), (3_000, 0, 4_001), (3_000, 3_500, 4_001)],
)
def test_a_generation_is_above_the_clock_the_last_one_and_the_floor(wall: int, floor: int, expected: int) -> None:
    desk = Desk()
    desk.clock.set_wall(4_000)
    assert desk.submit(id="first").generation == 4_000
    desk.state.cancel("s", "first")
    desk.clock.set_wall(wall)
    assert desk.submit(id="second", floor=floor).generation == expected


def test_opening_again_changes_nothing() -> None:
    desk = Desk()
    desk.state.open("s", "ann", "system", "model")
    desk.state.open("s", "bob", None, None)
    attached = desk.state.attach("g", "s", None)
    assert (attached.owner, attached.system, attached.model) == ("ann", "system", "model")


def test_a_full_queue_lets_in_what_ends_at_once_and_what_is_known() -> None:
    desk = Desk(Limits(queue=1))
    desk.submit("s")
    desk.state.open("t", "ann", None, None)
    desk.state.cancel("t", "m1")
    assert desk.submit("t").ended
    with pytest.raises(QueueFull):
        desk.submit("t", "m2")
    assert desk.submit("s").repeated
    assert desk.state.stats().queued == 1


def test_a_queue_is_full_by_its_bytes_too_but_never_of_one() -> None:
    desk = Desk(Limits(queue_bytes=10))
    for session in ("s", "t"):
        desk.state.open(session, "ann", None, None)
    large, small = b"x" * 11, b"x"
    desk.state.submit(Submission("s", "m1", 0, large))
    with pytest.raises(QueueFull):
        desk.state.submit(Submission("t", "m1", 0, small))
    assert desk.lease().session == "s"
    desk.state.submit(Submission("t", "m1", 0, small))
    assert desk.state.stats().queued == 1


def test_an_early_cancel_counts_once() -> None:
    desk = Desk(Limits(retention=5.0))
    desk.state.open("s", "ann", None, None)
    desk.drain()
    desk.state.attach("g", "s", None)  # so that it outlives its reply
    assert desk.state.cancel("s", "m1") is False
    assert desk.state.cancel("s", "m1") is False
    assert desk.submit().ended
    desk.pass_time(7.0)
    again = desk.submit()
    assert (again.repeated, again.ended) == (False, False)


def test_an_early_cancel_of_a_busy_session_waits_for_its_submit() -> None:
    desk = Desk()
    desk.submit()
    desk.state.cancel("s", "m2")
    with pytest.raises(Busy):
        desk.submit(id="m2")
    desk.state.cancel("s", "m1")
    assert desk.submit(id="m2").ended


def test_early_cancels_are_bounded_and_the_newest_stay() -> None:
    desk = Desk(Limits(early_cancels=3))
    desk.state.open("s", "ann", None, None)
    for number in range(5):
        desk.state.cancel("s", f"m{number}")
    assert [desk.submit(id=f"m{number}").ended for number in (2, 3, 4)] == [True] * 3
    assert not desk.submit(id="m1").ended


def test_a_repeated_submit_tells_the_place() -> None:
    desk = Desk()
    for session in ("s", "t"):
        desk.submit(session)
    assert desk.submit("t").place == 1
    desk.lease()
    assert (desk.submit("s").place, desk.submit("t").place) == (0, 0)


def test_what_belongs_to_no_session_is_refused_everywhere() -> None:
    desk = Desk()
    for call in (
        lambda: desk.state.submit(Submission("s", "m1", 0, b"")),
        lambda: desk.state.cancel("s", "m1"),
        lambda: desk.state.attach("g", "s", None),
        lambda: desk.state.read("s", None, 1),
    ):
        with pytest.raises(SessionNotFound):
            call()


# --- delivery --------------------------------------------------------------------------------------------------------


def test_a_gateway_that_holds_too_much_undrained_loses_all_and_is_told() -> None:
    desk = Desk(Limits(undrained_bytes=200))
    for session in ("s", "t"):
        desk.submit(session)
    desk.drain("slow")
    desk.drain("quick")
    for gateway in ("slow", "quick"):
        for session in ("s", "t"):
            desk.state.attach(gateway, session, None)
    lease = desk.lease()
    for number in range(3):
        assert desk.state.append([flush(lease, number, "x" * 100)]) == []
        assert [stored.first for stored in desk.drain("quick").items] == [number]
    batch = desk.drain("slow")
    assert (batch.lost, batch.items) == (True, [])
    desk.state.append([flush(desk.lease(), 0, "text")])  # in t: that is lost, too
    assert desk.drain("slow").items == []


def test_what_is_attached_behind_an_overflow_is_kept() -> None:
    desk = Desk(Limits(undrained_bytes=100))
    desk.drain()
    desk.submit()
    desk.state.attach("g", "s", None)
    lease = desk.lease()
    desk.state.append([flush(lease, 0, "x" * 200)])
    desk.state.attach("g", "s", None)
    desk.state.append([flush(lease, 1, "text")])
    batch = desk.drain()
    assert (batch.lost, [stored.first for stored in batch.items]) == (True, [1])


def test_places_are_told_when_they_change_and_to_followers_only() -> None:
    desk = Desk()
    for gateway in ("g", "stranger"):
        desk.drain(gateway)
    for session in ("s", "t"):
        desk.submit(session)
        desk.state.attach("g", session, None)
    desk.pass_time(2.5)
    assert desk.drain().places == []  # the answer to submit has told them
    desk.lease()
    desk.pass_time(1.25)
    assert [(place.session, place.id, place.place) for place in desk.drain().places] == [("t", "m1", 0)]
    assert desk.drain("stranger").places == []


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_lease_ends_when_nobody_renews_it_and_not_before() -> None:
    desk = Desk()
    desk.submit()
    lease = desk.lease()
    desk.pass_time(2.75)
    desk.state.renew([lease.number])
    desk.pass_time(2.75)
    desk.poll(held=[lease.number], free=0)
    desk.pass_time(2.75)
    assert desk.state.stats().running == 1
    desk.pass_time(0.25)
    assert (desk.state.stats().running, desk.state.stats().queued) == (0, 1)
    assert desk.poll(free=0).lost == [lease.number]


def test_the_pause_of_the_broker_is_nobodys_fault() -> None:
    desk = Desk()
    desk.submit()
    desk.lease()
    desk.drain()
    desk.state.attach("g", "s", None)
    desk.pass_time(2.75)
    desk.clock.advance(60.0)
    desk.pass_time(2.75)
    assert desk.state.stats().running == 1
    assert not desk.drain().lost
    desk.pass_time(3.0)
    assert desk.state.stats().running == 0


def idle(desk: Desk, seconds: float) -> None:
    """As the wrappers tick while nothing is under way: a little later than asked."""
    desk.pass_time(seconds, step=desk.limits.idle_tick + 0.0625)


def test_a_lease_given_by_an_idle_broker_lasts_no_longer_than_others() -> None:
    desk = Desk()
    idle(desk, 5.0)
    desk.submit()
    desk.lease()
    idle(desk, desk.limits.idle_tick)  # the tick that was due when the lease was given: after 0.8125 s
    desk.pass_time(2.0)
    assert desk.state.stats().running == 1
    desk.pass_time(0.25)
    assert (desk.state.stats().running, desk.state.stats().queued) == (0, 1)


@pytest.mark.parametrize("lease", [0.1, 0.5, 3.0, 60.0])
def test_an_idle_broker_ticks_often_enough_not_to_take_that_for_a_pause(lease: float) -> None:
    assert Limits(lease=lease).idle_tick <= lease / 4


def test_an_idle_broker_notices_that_a_gateway_is_silent() -> None:
    desk = Desk()
    desk.state.open("s", "ann", None, None)
    desk.drain()
    desk.state.attach("g", "s", None)
    idle(desk, 5.0)
    assert desk.state.stats().gateways == 1
    idle(desk, 7.0)
    assert desk.state.stats().gateways == 0
    assert desk.drain().lost


def test_an_idle_broker_notices_that_a_worker_is_silent() -> None:
    """Else readyz would say for ever that there is one."""
    desk = Desk()
    desk.poll(free=1)
    assert desk.state.stats().workers == 1
    idle(desk, 8.0)
    assert desk.state.stats().workers == 0


@pytest.mark.parametrize("lease", [0.3, 3.0, 60.0])
def test_a_poll_that_waits_is_not_forgotten_however_long_leases_are(lease: float) -> None:
    """Polls wait for a third of a lease; the other workers' seats are swept meanwhile."""
    desk = Desk(Limits(lease=lease))
    number = desk.state.poll("w", 0, None, 1, False)
    idle(desk, lease / 3 * 0.9)
    desk.submit()
    polled = desk.state.polled("w", number, final=False)
    assert polled is not None
    assert len(polled.leases) == 1


def test_waiting_too_long_ends_it_also_between_attempts() -> None:
    desk = Desk(Limits(queue_timeout=5.0))
    desk.submit()
    desk.pass_time(4.0)
    desk.state.release([desk.lease().number])
    desk.pass_time(4.0)
    assert desk.items() == []
    desk.pass_time(2.0)
    (failed,) = decode_events(desk.items()[0].events)
    assert isinstance(failed, Failed)
    assert failed.code == "expired"
    assert desk.state.stats().queued == 0


def test_replies_are_kept_for_their_retention_from_their_end() -> None:
    desk = Desk(Limits(retention=5.0))
    desk.drain()
    desk.submit()
    desk.state.attach("g", "s", None)
    lease = desk.lease()
    desk.state.append([flush(lease, 0, "text")])
    for _ in range(8):
        desk.pass_time(1.0)
        desk.state.renew([lease.number])
    desk.state.append([flush(lease, 1, end=True)])
    desk.pass_time(4.75)
    assert len(desk.items()) == 2
    desk.pass_time(1.5)
    assert desk.items() == []
    assert desk.state.stats().kept_bytes == 0


@pytest.mark.parametrize("leave", ["detach", "goodbye", "new link", "silence"])
def test_a_session_outlives_whoever_followed_it(leave: str) -> None:
    """Its reply has expired long ago, but somebody was there a moment ago and may be on the way to another gateway."""
    desk = Desk(Limits(retention=30.0))
    desk.state.open("s", "ann", None, None)
    desk.drain()
    desk.state.attach("g", "s", None)
    for _ in range(30):
        desk.pass_time(2.0)
        desk.drain()
    match leave:
        case "detach":
            desk.state.detach("g", "s")
        case "goodbye":
            desk.state.leave_gateway("g")
        case "new link":
            desk.drain(link=2)
        case "silence":
            desk.pass_time(12.0)
    desk.pass_time(15.0)
    assert desk.state.stats().sessions == 1
    desk.pass_time(20.0)
    assert desk.state.stats().sessions == 0


def test_workers_that_are_gone_leave_no_seat() -> None:
    desk = Desk()
    for number in range(5):
        desk.seen[f"w{number}"] = 0
        desk.poll(f"w{number}", free=0)
    desk.pass_time(11.5)
    assert not desk.state._seats


def test_it_is_active_while_something_waits_or_runs() -> None:
    desk = Desk()
    assert not desk.state.active
    desk.submit()
    assert desk.state.active
    lease = desk.lease()
    assert desk.state.active
    desk.state.append([flush(lease, 0, end=True)])
    assert not desk.state.active


def test_of_a_forgotten_session_nothing_is_on_its_way() -> None:
    """Neither to who follows it nor to who did: the session may be opened anew under this name."""
    desk = Desk()
    for gateway in ("follows", "followed"):
        desk.drain(gateway)
        desk.submit()
        desk.state.attach(gateway, "s", None)
    desk.state.append([flush(desk.lease(), 0, "text")])
    desk.state.detach("followed", "s")
    desk.state.forget("s")
    assert desk.drain("follows").items == []
    assert desk.drain("followed").items == []


def test_who_follows_a_forgotten_session_is_told_at_once() -> None:
    desk = Desk()
    for gateway in ("follows", "followed"):
        desk.drain(gateway)
        desk.submit()
        desk.state.attach(gateway, "s", None)
    desk.state.detach("followed", "s")
    desk.state.take_wake()
    desk.state.forget("s")
    assert desk.state.take_wake() == {"follows"}
    assert [desk.drain(gateway).gone for gateway in ("follows", "followed", "follows")] == [["s"], [], []]


def test_a_forgotten_session_is_not_brought_back_by_who_knew_it() -> None:
    desk = Desk()
    desk.submit()
    desk.state.forget("s")
    with pytest.raises(SessionNotFound):
        desk.state.open("s", "ann", None, None, 5, desk.state.epoch)
    assert desk.state.stats().sessions == 0
    desk.state.open("s", "ann", None, None, 5, "another memory")
    assert desk.state.stats().sessions == 1


def test_forgetting_wakes_the_worker_whose_lease_it_was() -> None:
    desk = Desk()
    desk.submit()
    lease = desk.lease()
    number = desk.state.poll("w", desk.seen["w"], None, 0, False)
    desk.state.take_wake()
    desk.state.forget("s")
    assert desk.state.take_wake() == {"w"}
    polled = desk.state.polled("w", number, final=False)
    assert polled is not None
    assert polled.lost == [lease.number]
