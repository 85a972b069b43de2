"""Many seeds, each a whole service with its people and its faults; and services broken on purpose, which must fail."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.memory_store import MemoryStore
from tests.simulation.__main__ import describe, main
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import run

USUAL = 200  # seeds in the usual run
WITH_HISTORY = (*range(80), 115, 119, 364, 3790)  # the same, of services with a database; the last have found something
THOUSANDS = 10  # of seeds in the slow one

# What must have happened in the usual run, else its silence means nothing.
HAPPENED = (
    "append fenced",
    "append cancelled",
    "resumed in mid-reply",
    "seen: takeover",
    "seen: restart",
    "seen: cancelled",
    "seen: loss",
    "seen: session_not_found",
    "seen: broker_unavailable",
    "a worker for suspects",
    "closed with 1012",
    "closed with 4408",
    "stopped in the line before a loss",
)


def check(seeds: Sequence[int], *, stored: bool = False) -> Counter[str]:
    """Fails with the seeds that broke a promise, and how to see them again; returns what happened, how often."""
    happened, failed = Counter[str](), []
    for seed in seeds:
        result = run(seed, stored=stored)
        happened.update(result.counts)
        if result.failures:
            failed.append(describe(result))
    if failed:
        pytest.fail(f"{len(failed)} of {len(seeds)} seeds failed\n" + "\n".join(failed[:10]), pytrace=False)
    return happened


def test_every_promise_is_kept_and_everything_has_happened() -> None:
    happened = check(range(USUAL))
    assert [what for what in HAPPENED if not happened[what]] == []


def test_every_promise_is_kept_with_a_history_whose_database_is_away_at_times() -> None:
    happened = check(WITH_HISTORY, stored=True)
    assert happened["seen: store_unavailable"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("thousand", range(THOUSANDS))
def test_every_promise_is_kept_for_a_thousand_seeds(thousand: int, stored: bool) -> None:
    check(range(thousand * 1000, (thousand + 1) * 1000), stored=stored)


def test_ends_that_are_not_stored_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "_answer", lambda store, answer: None)
    assert any("history: " in failure for seed in range(5) for failure in run(seed, stored=True).failures)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_seed_is_the_same_run(seed: int) -> None:
    first = run(seed)
    assert run(seed) == first
    assert run(seed + 1).trace != first.trace


def test_the_same_seed_is_the_same_run_in_another_process() -> None:
    """Whose sets have another order."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "3"]
    told = [
        subprocess.run(command, env={"PYTHONHASHSEED": number}, capture_output=True, text=True, check=True).stdout
        for number in ("1", "2")
    ]
    assert told[0].splitlines()[0] == told[1].splitlines()[0] == describe(run(3))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_service_is_noticed(mutant: Mutant) -> None:
    seen: set[str] = set()
    with mutant.broken():
        for seed in range(mutant.seeds):
            seen |= {failure.partition(":")[0] for failure in run(seed).failures}
            if seen & mutant.promises:
                return
    pytest.fail(f"not noticed within {mutant.seeds} seeds; seen: {seen or 'nothing'}")


def test_a_seed_that_fails_is_printed_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    crossed = next(mutant for mutant in MUTANTS if mutant.name == "a crossed session")
    with crossed.broken():
        assert main(["--seeds", "0..5"]) == 1
    told = capsys.readouterr().out
    assert "crossed: " in told
    assert re.search(r"python -m tests.simulation --seed [0-5] --trace", told)
    assert main(["--seed", "2", "--trace"]) == 0
    assert "accepted" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["7", "9..3", "a..b"])
def test_a_wrong_range_is_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seeds", seeds])
    assert ended.value.code == 2
    assert "two numbers" in capsys.readouterr().err
