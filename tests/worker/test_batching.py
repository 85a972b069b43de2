"""When to flush."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batching import CAP, URGENT_CAP, Pacer


def paced(*costs: float) -> Pacer:
    """A pacer after flushes of such costs, the last of which began at 100."""
    pacer = Pacer()
    for cost in costs:
        pacer.began(100.0)
        pacer.answered(100.0 + cost)
    return pacer


def test_the_first_flush_waits_for_nothing() -> None:
    assert Pacer().wait(5.0, urgent=False) == 0


def test_an_idle_system_adds_no_wait() -> None:
    assert paced(0.001).wait(100.0 + CAP, urgent=False) == 0


def test_the_dearer_a_flush_the_longer_the_next_one_waits() -> None:
    waits = [paced(*[cost] * 20).wait(100.0, urgent=False) for cost in (0.0, 0.0001, 0.0003, 0.0006)]
    assert waits[0] == 0
    assert all(shorter < longer for shorter, longer in pairwise(waits))


def test_a_wait_counts_from_the_beginning_of_the_last_flush() -> None:
    pacer = paced(*[1.0] * 20)
    assert pacer.wait(100.0, urgent=False) == pytest.approx(CAP)
    assert pacer.wait(100.0 + CAP / 2, urgent=False) == pytest.approx(CAP / 2)


def test_one_slow_answer_is_not_the_rule() -> None:
    assert paced(*[0.0001] * 20, 0.001).wait(100.0, urgent=False) < paced(0.001).wait(100.0, urgent=False) * 2


@given(st.lists(st.floats(0, 10), max_size=20), st.floats(0, 1))
def test_no_wait_is_beyond_the_cap_and_first_pieces_never_wait_longer(costs: list[float], later: float) -> None:
    pacer = paced(*costs)
    urgent, ordinary = (pacer.wait(100.0 + later, urgent=urgent) for urgent in (True, False))
    assert 0 <= urgent <= ordinary <= CAP + 1e-9
    assert urgent <= URGENT_CAP + 1e-9


def test_where_each_is_dear_they_lie_apart_but_a_first_piece_does_not_wait_for_that() -> None:
    pacer = Pacer(least=0.015)
    pacer.began(100.0)
    assert pacer.wait(100.0, urgent=False) == pytest.approx(0.015)
    assert pacer.wait(100.0, urgent=True) == 0
