"""What makes a run no result is said, and only that."""

import pytest

from benchmarks.verdict import bottleneck, disturbed, faulty


@pytest.mark.parametrize(
    ("cpu", "lag", "waiting", "word"),
    [(0.9, 0.1, 0.0, "90%"), (0.3, 11.0, 0.0, "11.0 ms"), (0.3, 0.1, 0.6, "waited"), (1.0, 50.0, 0.9, "100%")],
)
def test_a_bottleneck_is_told(cpu: float, lag: float, waiting: float, word: str) -> None:
    assert word in (bottleneck(cpu, lag, waiting) or "")


def test_what_is_none_is_not() -> None:
    assert bottleneck(0.84, 9.9, 0.4) is None
    assert disturbed(0.14) is None
    assert faulty({"missing": 0, "wrong": 0}) is None


def test_neighbours_and_faults_are_told() -> None:
    assert "40%" in (disturbed(0.4) or "")
    assert faulty({"missing": 2, "wrong": 0, "doubled": 1}) == "2 missing, 1 doubled"
