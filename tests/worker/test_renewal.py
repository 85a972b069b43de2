"""Whose leases the supervisor renews, and for how long."""

import math

from worker.renewal import Holdings

LEASE = 3.0


def test_a_process_that_renews_itself_is_left_alone() -> None:
    holdings = Holdings(LEASE)
    for now in (10.0, 10.9, 11.8):
        holdings.told([(1, math.inf)], True, now)
        assert holdings.due(now + 0.9) == []


def test_one_that_is_silent_is_helped_every_third_of_a_lease() -> None:
    holdings = Holdings(LEASE)
    holdings.told([(1, math.inf), (2, math.inf)], True, 10.0)
    due = [now / 2 for now in range(20, 30) if holdings.due(now / 2) == [1, 2]]
    assert due == [11.0, 12.0, 13.0, 14.0]


def test_only_as_long_as_its_engine_may_take() -> None:
    holdings = Holdings(LEASE)
    holdings.told([(1, 2.5), (2, math.inf)], True, 10.0)
    assert holdings.due(12.0) == [1, 2]
    assert holdings.due(13.0) == [2]


def test_new_leases_are_known_before_their_engine_can_block() -> None:
    holdings = Holdings(LEASE)
    holdings.told([(1, math.inf)], True, 10.0)
    holdings.told([(1, math.inf), (2, math.inf)], False, 10.5)
    assert holdings.due(10.9) == []
    assert holdings.due(11.0) == [1, 2]


def test_what_is_not_told_any_more_is_not_renewed() -> None:
    holdings = Holdings(LEASE)
    holdings.told([(1, math.inf)], True, 10.0)
    holdings.told([], True, 11.0)
    assert holdings.due(20.0) == []
