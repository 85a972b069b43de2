"""A fault that could not be caused is on record as that, and never as one that struck."""

import json
from pathlib import Path

import psutil
import pytest

from tests.chaos.faults.base import Fault, NotRun, Occasion
from tests.chaos.plan import Sort, Stroke
from tests.chaos.stage import Stage

SETTINGS = {"LLM_CHAT_ECHO_CHUNKS": "5"}


class Sham(Fault):
    """Raises what it is told to, or strikes."""

    sort = Sort("sham", "sham", 0.0, False)
    words = "nothing"

    def __init__(self, error: Exception | None, strikes: bool) -> None:
        self._error = error
        self._strikes = strikes

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        if self._error is not None:
            raise self._error
        if self._strikes:
            occasion.begun("broker", "broker", [1])


async def states(directory: Path, fault: Fault) -> list[tuple[str, str | None]]:
    stage = Stage(directory, directory, SETTINGS, 1)
    await fault.strike(stage, Stroke(1, 0.0, "sham", 0, 1.0))
    await stage.end()
    records = [json.loads(line) for line in (directory / "harness-run.jsonl").read_text().splitlines()]
    return [(record["state"], record.get("why")) for record in records if record["what"] == "fault"]


@pytest.mark.parametrize(
    "error", [NotRun("nobody is there"), PermissionError("not yours"), psutil.AccessDenied(1), psutil.NoSuchProcess(1)]
)
async def test_what_could_not_be_caused_was_not_run(error: Exception, tmp_path: Path) -> None:
    [(state, why)] = await states(tmp_path, Sham(error, strikes=False))
    assert state == "not_run"
    assert why


async def test_a_fault_without_a_victim_was_not_run(tmp_path: Path) -> None:
    assert await states(tmp_path, Sham(None, strikes=False)) == [("not_run", "there was nothing to strike")]


async def test_a_fault_that_strikes_begins_and_ends(tmp_path: Path) -> None:
    assert await states(tmp_path, Sham(None, strikes=True)) == [("begun", None), ("ended", None)]
