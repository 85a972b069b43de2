"""More processes: the page says what the runs say; and one small run for real."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.scale import Shape
from benchmarks.scale_page import Scaled, growth, write_page
from tests.conftest import require
from tests.redis_server import NEEDED


def run(gateways: int, workers: int, us: float, *, broker: str = "redis", **more: Any) -> dict[str, Any]:
    """A line of results: half of it is the broker's."""
    each = {"redis" if broker == "redis" else "broker": us / 2, "gateway": us / 4, "engine": us / 8, "worker": us / 8}
    names = {"kind": "scale", "at": "2026-01-02 03:04:05", "scenario": "scale", "broker": broker, "round": 1}
    counts = {"chunks_s": 2000, "calls_s": 500, "rest_calls_s": 5, "rest_ms_s": each, "replies": 100, "writes": 2.5}
    counts["sleeps_s"] = dict.fromkeys(each, 1000)
    shape = {"gateways": gateways, "workers": workers, "us": us, "each_us": each, "memory_grown": 123_400, "doubts": []}
    return names | counts | shape | more


def wall(broker: str, mean: float) -> dict[str, Any]:
    """How long a reply takes."""
    return run(1, 1, 10.0, broker=broker) | {"scenario": "wall", "whole_mean_ms": mean}


def page_of(tmp_path: Path, *lines: dict[str, Any]) -> str:
    """The text."""
    write_page(lines, tmp_path / "scale.md")
    assert (tmp_path / "performance" / "scale.svg").read_text().startswith("<svg ")
    return (tmp_path / "scale.md").read_text()


@pytest.mark.parametrize(("us", "said"), [(114.9, "flat within 15%"), (115.1, "**not flat** within 15%")])
def test_the_page_says_whether_the_cost_is_flat(tmp_path: Path, us: float, said: str) -> None:
    page = page_of(tmp_path, run(1, 1, 100.0), run(4, 1, us))
    assert said in page
    assert f"| 4 | 1 | {us / 2:.1f} | {us / 4:.1f} | {us / 4:.1f} | {us:.1f} | +15% |" in page


def test_the_counts_that_say_why_are_by_chunk(tmp_path: Path) -> None:
    assert "| 1 | 1 | 50.0 | 0.25 | 2.50 | 0.50 | 0.50 | 1.00 |" in page_of(tmp_path, run(1, 1, 100.0))


def test_growth_is_that_of_medians_and_runs_in_doubt_do_not_count(tmp_path: Path) -> None:
    lines = [run(1, 1, 90.0), run(1, 1, 100.0), run(1, 1, 300.0), run(2, 1, 110.0)]
    lines.append(run(2, 1, 900.0, doubts=["other processes"]))
    assert growth(Scaled(lines), Shape(2, 1)) == pytest.approx(0.1)
    assert growth(Scaled(lines), Shape(4, 4)) is None
    assert "1 runs were passed over" in page_of(tmp_path, *lines)


def test_the_page_says_what_a_broker_adds_and_what_a_kept_reply_takes(tmp_path: Path) -> None:
    alone = {"kind": "scale", "at": "", "scenario": "wall", "broker": "none", "gateways": 0, "workers": 0, "doubts": []}
    page = page_of(tmp_path, run(1, 1, 100.0), wall("redis", 808.0), alone | {"whole_mean_ms": 800.0})
    assert "| redis | 1,234 |" in page
    assert "| redis | 808.00 | +8.00 ms, +1.00% |" in page


def test_where_each_run_of_something_was_disturbed_the_page_says_so_and_shows_what_was_right(tmp_path: Path) -> None:
    noise: dict[str, Any] = {"doubts": ["other processes used 99% of a processor"]}
    page = page_of(tmp_path, run(1, 1, 100.0), run(2, 1, 120.0, **noise), run(4, 1, 777.0, doubts=["5 missing"]))
    assert "**The machine was not quiet**" in page
    assert "+20%" in page
    assert "777" not in page


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "Not measured." in page
    assert "not quiet" not in page


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_process_of_a_small_run_is_counted_and_ended(tmp_path: Path) -> None:
    require(shutil.which("go"), "needs Go: apt-get install golang-go")
    require(shutil.which("redis-server"), NEEDED)
    places = ["--results", str(tmp_path / "results.jsonl"), "--page", str(tmp_path / "scale.md")]
    assert main(["scale", "--shapes", "2x2", "--parts", "grid", "--seconds", "1", *places]) == 0
    text = (tmp_path / "results.jsonl").read_text()
    for name in ("redis", "gateway", "engine", "broker"):
        assert f'"{name}": ' in text
    assert '"faults": {}' in text
    assert "not within" not in text
