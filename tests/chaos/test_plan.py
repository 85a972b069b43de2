"""The plan is made from the seed alone, and keeps apart what must not meet."""

import itertools

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.plan import CALM_AFTER, CALM_BEFORE, Stroke, make_plan

SORTS = [fault.sort for fault in FAULTS.values()]


def ends(stroke: Stroke) -> float:
    return stroke.at + FAULTS[stroke.name].sort.takes


@pytest.mark.parametrize("seed", range(10))
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    assert make_plan(seed, 60, SORTS) == make_plan(seed, 60, list(reversed(SORTS)))
    assert make_plan(seed, 60, SORTS) != make_plan(seed + 1, 60, SORTS)


@pytest.mark.parametrize("seed", range(30))
def test_a_minute_has_room_for_every_fault(seed: int) -> None:
    assert {stroke.name for stroke in make_plan(seed, 60, SORTS)} == FAULTS.keys()


@pytest.mark.parametrize("seed", range(10))
def test_strokes_lie_within_the_load_and_do_not_meet(seed: int) -> None:
    plan = make_plan(seed, 90, SORTS)
    assert [stroke.number for stroke in plan] == list(range(1, len(plan) + 1))
    assert plan == sorted(plan, key=lambda stroke: stroke.at)
    for one in plan:
        assert one.at >= CALM_BEFORE
        assert ends(one) <= 90 - CALM_AFTER
    for one, other in itertools.combinations(plan, 2):
        sorts = [FAULTS[stroke.name].sort for stroke in (one, other)]
        if sorts[0].lane == sorts[1].lane or any(sort.exclusive for sort in sorts):
            assert ends(one) <= other.at or ends(other) <= one.at


def test_there_is_no_plan_for_a_moment() -> None:
    assert make_plan(1, 3, SORTS) == []


def test_every_fault_has_words_and_a_name_of_its_own() -> None:
    assert len(FAULTS) == 17
    assert len({fault.words for fault in FAULTS.values()}) == 17
