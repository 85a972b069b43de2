"""The page says what the results say: goals met and not met, runs left out, and why."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plots
from benchmarks.figures import GOALS
from benchmarks.page import goals, losses, write_page
from benchmarks.runs import Runs, spread

MACHINE = {"processor": "P", "virtual": True, "cores": 2, "memory_gb": 4, "kernel": "6", "python": "3", "go": "go1"}


def run(scenario: str, peer: str, number: int, **fields: Any) -> dict[str, Any]:
    at = "2026-01-02 03:04:05"
    return {"kind": "run", "at": at, "scenario": scenario, "peer": peer, "round": number, "doubts": [], **fields}


def paced(*ours: float) -> list[dict[str, Any]]:
    """Go's costs are 10 each time."""
    lines = [run("paced", "ours", number, us=cost) for number, cost in enumerate(ours)]
    return lines + [run("paced", "go", number, us=10.0) for number in range(len(ours))]


def row(page: str, words: str) -> str:
    return next(line for line in page.splitlines() if words in line)


@pytest.mark.parametrize(
    ("ours", "value", "verdict"),
    [((8.0, 9.0, 30.0), "0.90 (0.80 to 3.00)", "| met |"), ((8.0, 9.1, 9.2), "0.91 (0.80 to 0.92)", "**not met**")],
)
def test_a_goal_is_judged_by_the_median(ours: tuple[float, ...], value: str, verdict: str) -> None:
    said = row(goals(Runs(paced(*ours))), "2,000 x 50 ms |")
    assert value in said
    assert verdict in said
    assert "| 3 |" in said


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    page = goals(Runs([]))
    assert page.count("not measured") == len(GOALS)
    assert "met |" not in page


def test_a_loss_is_shown_with_its_profile() -> None:
    profile = {"kind": "profile", "scenario": "paced", "processes": {"gateway": {"write (ws.py)": 0.5}}}
    page = losses(Runs([*paced(20.0), profile]))
    assert "2.00, not at most 0.90" in page
    assert "50% `write (ws.py)`" in page


def test_a_run_in_doubt_does_not_count_and_is_named() -> None:
    lines = [*paced(8.0, 8.0), run("paced", "ours", 1, us=99.0) | {"doubts": ["5 missing"]}]
    del lines[1]
    runs = Runs(lines)
    assert "0.80" in row(goals(runs), "2,000 x 50 ms |")
    assert len(runs.doubtful()) == 1


def test_only_runs_of_the_same_round_are_compared() -> None:
    lines = [run("paced", "ours", 1, us=5.0), run("paced", "go", 2, us=10.0)]
    assert "not measured" in row(goals(Runs(lines)), "2,000 x 50 ms |")


def test_faults_at_most_sessions_are_told_though_the_run_is_in_doubt() -> None:
    fields = {"connections": 100_000, "connect_s": 61.0, "faults": {"missing": 3}}
    line = run("curve-100000", "ours", 1, **fields) | {"kind": "curve", "doubts": ["3 missing"]}
    page = goals(Runs([line]))
    assert "**not met**" in row(page, "not exact")
    assert "**not met**" in row(page, "all connected")


@pytest.mark.parametrize(("replies", "verdict"), [(100_000, "| met |"), (99_999, "**not met**")])
def test_every_session_must_have_had_its_reply(replies: int, verdict: str) -> None:
    fields = {"connections": 100_000, "connect_s": 20.0, "replies": replies, "faults": {}, "us": 12.0}
    many = run("curve-100000", "ours", 1, **fields) | {"kind": "curve"}
    few = run("curve-1000", "ours", 1, connections=1000, us=10.0) | {"kind": "curve"}
    page = goals(Runs([many, few]))
    assert verdict in row(page, "not exact")
    assert "1.20" in row(page, "over that at 1,000")


def test_fewer_sessions_do_not_stand_for_many() -> None:
    fields = {"connections": 2_000, "connect_s": 0.2, "replies": 20_000, "faults": {}, "us": 12.0}
    page = goals(Runs([run("curve-2000", "ours", 1, **fields) | {"kind": "curve"}]))
    assert page.count("not measured") == len(GOALS)


def test_the_whole_page_is_written(tmp_path: Path) -> None:
    lines = [{"kind": "machine", "at": "2026-01-02 03:04:05", "commit": "abc", **MACHINE}, *paced(8.0, 9.0)]
    lines.append({"kind": "skipped", "at": "2026-01-02 03:04:05", "peer": "channels", "reason": "no such thing"})
    write_page(lines, tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text()
    assert "2026-01-02, commit abc" in page
    assert "channels was left out: no such thing" in page
    for name in ("paced.svg", "curve.svg"):
        assert f"performance/{name}" in page
        ElementTree.parse(tmp_path / "performance" / name)


def test_plots_are_well_formed_and_hold_their_values() -> None:
    curve = plots.curve("a title", "us", [(1000, 10.0, 9.0, 11.0), (100_000, 12.0, 11.5, 13.0)])
    bars = plots.bars("a title", "us", [("ours", 8.0), ("go", 10.0), ("naive", 900.0)])
    for drawn, words in ((curve, "100,000"), (curve, "12.0"), (bars, "900.0 us (bar cut off)")):
        assert words in "".join(ElementTree.fromstring(drawn).itertext())


def test_the_spread_of_nothing_is_none() -> None:
    assert spread([]) is None
