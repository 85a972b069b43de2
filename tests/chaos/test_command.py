"""The whole command, as its users start it: a short run that passes, one that is broken on purpose, and bad options."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple

import psutil
import pytest

from tests.processes.service import ROOT, until

pytestmark = pytest.mark.timeout(120)
SHORT = ("--seconds", "9", "--clients", "24", "--seed", "1")


class Ended(NamedTuple):
    """What came of a run."""

    status: int
    out: str
    error: str


def chaos(*arguments: str, **environment: str) -> Ended:
    """Run it to its end. Where the test is broken off first, so is the run, which then ends its processes."""
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    whole = {**os.environ, **environment}
    with subprocess.Popen(command, cwd=ROOT, env=whole, text=True, stdout=PIPE, stderr=PIPE) as process:
        try:
            out, error = process.communicate()
        finally:
            process.terminate()
    return Ended(process.returncode, out, error)


def test_a_short_run_passes_and_shows_its_plan_and_its_card(tmp_path: Path) -> None:
    ended = chaos(*SHORT, "--keep", str(tmp_path))
    assert ended.status == 0, ended.out + ended.error
    assert ended.error == ""
    planned = re.findall(r"^ +[\d.]+ s  (\w+): ", ended.out, re.MULTILINE)
    assert planned
    rows = re.findall(r"^  (\w+) +(\d+) +(\d+) +(\d+)", ended.out, re.MULTILINE)
    assert {name for name, _, struck, _ in rows if int(struck)} == set(planned)
    assert "24 sessions" in ended.out
    assert ended.out.splitlines()[-2:] == ["PASSED", f"Records and logs: {tmp_path}"]
    assert (tmp_path / "harness-run.jsonl").exists()
    assert "Traceback" not in "".join(log.read_text() for log in tmp_path.glob("*.log"))


@pytest.mark.slow
def test_a_service_that_crosses_sessions_fails_and_its_records_stay() -> None:
    ended = chaos(*SHORT, CHAOS_MUTATION="crossed_session")
    assert ended.status == 1
    *_, result, where = ended.out.splitlines()
    assert result.startswith("FAILED: ")
    assert "canary" in result
    records = Path(where.removeprefix("Records and logs: "))
    assert list(records.glob("client-*.jsonl"))
    for file in records.iterdir():
        file.unlink()
    records.rmdir()


@pytest.mark.parametrize("arguments", [("--seconds", "0"), ("--broker", "pigeon"), ("--scenario", "picnic")])
def test_bad_options_are_one_line_and_status_2(arguments: tuple[str, str]) -> None:
    ended = chaos(*arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.error.count("\n") == 1
    assert arguments[0] in ended.error


def test_a_taken_port_is_one_line_and_status_2() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ended = chaos("--port", str(other.getsockname()[1]))
    assert ended.status == 2
    assert ended.error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_broken_off_leaves_nothing_running(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", *SHORT, "--keep", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, text=True) as process:
        until(lambda: list(tmp_path.glob("client-json-*.jsonl")), 60, "clients")
        service = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert len(service) >= 5
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 1
    assert "FAILED: the run was broken off\n" in out
    until(lambda: not any(map(psutil.pid_exists, service)), 5, "the end of all processes")
