"""What an engine process tells its supervisor."""

import math
from collections.abc import Iterator

import pytest

from tests.worker.fakes import turns
from worker import report
from worker.report import Fruitful, Holding, Report, Reporter, Reports


@pytest.fixture
def heard() -> list[Report]:
    return []


@pytest.fixture
async def ends(heard: list[Report]) -> Iterator[tuple[Reporter, Reports]]:  # type: ignore[misc]
    ours, theirs = report.pair()
    reports = Reports(ours, heard.append)
    yield Reporter(theirs, 7), reports
    reports.close()
    theirs.close()


async def test_a_report_arrives_by_itself(ends: tuple[Reporter, Reports], heard: list[Report]) -> None:
    ends[0].holding([(1, 2.5), (2, math.inf)], True)
    await turns()
    assert heard == [Holding(7, [(1, 2.5), (2, math.inf)], True)]


async def test_an_achievement_is_told_once(ends: tuple[Reporter, Reports], heard: list[Report]) -> None:
    for _ in range(3):
        ends[0].appended()
    ends[1].read()
    assert heard == [Fruitful(7)]


async def test_thousands_of_leases_fit(ends: tuple[Reporter, Reports], heard: list[Report]) -> None:
    ends[0].holding([(number, 60.0) for number in range(10_000)], True)
    ends[1].read()
    (told,) = heard
    assert isinstance(told, Holding)
    assert len(told.allowed) == 10_000


async def test_a_full_socket_is_no_error_and_the_achievement_is_told_later(
    ends: tuple[Reporter, Reports], heard: list[Report]
) -> None:
    reporter, reports = ends
    for _ in range(10_000):
        reporter.holding([(1, 2.5)], True)
    reporter.appended()
    reports.read()
    assert Fruitful(7) not in heard
    reporter.appended()
    reports.read()
    assert heard[-1] == Fruitful(7)
