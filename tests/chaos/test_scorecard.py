"""The scorecard says what the verdict holds, and passes only what holds in every way."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.checker import RULES, Figures, Hits, Verdict, Violation
from tests.chaos.checker.figures import Spread
from tests.chaos.checker.record import Record
from tests.chaos.figure import Figure, percentile
from tests.chaos.options import Options
from tests.chaos.scorecard import SHOWN, Scorecard, head

GAPS = [0.1, 0.2, 0.3]
STRUCK = {"engine_kill": Hits(2, 3, 1, GAPS)}
VIOLATION = Violation("text", "s_1/m1", "holds 'x' at its end", (Record(1.0, "got", {}, "client-json-1", 7),))


def verdict(
    violations: Sequence[Violation] = (), hits: dict[str, Hits] = STRUCK, not_run: dict[str, str] | None = None
) -> Verdict:
    figures = Figures(
        clients=4,
        messages=1234,
        generations=1230,
        events=9,
        terminals={"stop": 1200, "cancelled": 30},
        lost_said=4,
        takeovers=5,
        refused_appends=6,
        zombies=2,
        memories=2,
        cancel_latency=Spread(30, 0.001, 0.02, 0.0305),
        gaps={name: Spread.of(one.gaps) for name, one in hits.items()},
    )
    return Verdict(violations, hits, not_run or {}, figures)


def last_line(card: Scorecard) -> str:
    return card.text().splitlines()[-1]


def test_what_holds_passes() -> None:
    card = Scorecard(verdict(), [Figure("gap", "0.3 s, at most 1 s", True)], {"engine_kill": 2})
    assert card.passed
    assert last_line(card) == "PASSED"
    text = card.text()
    assert text.count("\n  kept ") == len(RULES)
    assert "BROKEN" not in text
    assert "1,234 messages" in text
    assert "ended: 1,200 stop, 30 cancelled" in text
    assert "1 ms p50, 20 ms p99, 30 ms at most" in text
    [row] = [line for line in text.splitlines() if line.startswith("  engine_kill")]
    assert row.split() == ["engine_kill", "2", "2", "3", "and", "1", "at", "the", "point", "0.20", "s", "0.30", "s"]


def test_a_broken_rule_fails_and_shows_where() -> None:
    card = Scorecard(verdict([VIOLATION] * (SHOWN + 2)), [], {})
    assert not card.passed
    assert last_line(card) == f"FAILED: text broken {SHOWN + 2} times"
    assert card.text().count("holds 'x' at its end (client-json-1.jsonl:7)") == SHOWN
    assert "... and 2 more" in card.text()


def test_a_planned_fault_that_did_not_run_fails_with_its_reason() -> None:
    card = Scorecard(verdict(not_run={"broker_kill": "no permission"}), [], {"engine_kill": 1, "broker_kill": 1})
    assert not card.passed
    assert last_line(card) == "FAILED: broker_kill was planned and not run (no permission)"


def test_a_fault_that_ran_at_last_is_forgiven_but_said() -> None:
    card = Scorecard(verdict(not_run={"engine_kill": "nobody was there"}), [], {"engine_kill": 3})
    assert card.passed
    assert "not run, at least once: nobody was there" in card.text()


def test_a_figure_that_does_not_hold_fails() -> None:
    card = Scorecard(verdict(), [Figure("gap", "2 s, at most 1 s", False)], {})
    assert not card.passed
    assert last_line(card) == "FAILED: gap: 2 s, at most 1 s"
    assert "DOES NOT HOLD" in card.text()


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_percentiles(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_the_head_says_what_is_run_and_where() -> None:
    options = Options(60.0, 7, "manager", 160, 0, Path("x"), None, None)
    assert "all clients, all faults for 60 s, seed 7, broker manager, on " in head(options, "all clients, all faults")
    assert "reconnect (words), seed 7" in head(options._replace(scenario="reconnect"), "words")
