"""Percentiles of buckets are those of the values, to the width of a bucket."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.histogram import HALF, Histogram, greatest


def bucket(value: int) -> int:
    """The one whose greatest value is the least that is not below."""
    index = 0
    while greatest(index) < value:
        index += 1
    return index


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.99, 0.999, 1.0]))
def test_a_percentile_is_that_of_the_values(values: list[int], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    found = Histogram((bucket(value), 1) for value in values).percentile(share)
    assert found is not None
    assert exact <= found <= exact * (1 + 1 / HALF) + 1


def test_buckets_follow_each_other_without_a_gap() -> None:
    ends = [greatest(index) for index in range(HALF * 20)]
    assert ends == sorted(set(ends))
    assert ends[:HALF] == list(range(HALF))


def test_several_are_added_up() -> None:
    both = Histogram([[1, 99]]) + Histogram([[5, 1]])
    assert len(both) == 100
    assert both.percentile(0.99) == 1
    assert both.percentile(0.999) == 5


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_of_nothing_there_is_none(share: float) -> None:
    assert Histogram().percentile(share) is None
