"""The whole command, as its users start it: a short run that passes, one that is broken on purpose, and bad options."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes.service import ROOT, until

pytestmark = pytest.mark.timeout(120)
SHORT = ("--seconds", "9", "--clients", "24", "--seed", "1")


def chaos(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_a_short_run_passes_and_shows_its_plan_and_its_card(tmp_path: Path) -> None:
    ended = chaos(*SHORT, "--keep", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    planned = re.findall(r"^ +[\d.]+ s  (\w+): ", ended.stdout, re.MULTILINE)
    assert planned
    rows = re.findall(r"^  (\w+) +(\d+) +(\d+) +(\d+)", ended.stdout, re.MULTILINE)
    assert {name for name, _, struck, _ in rows if int(struck)} == set(planned)
    assert "24 sessions" in ended.stdout
    assert ended.stdout.splitlines()[-2:] == ["PASSED", f"Records and logs: {tmp_path}"]
    assert (tmp_path / "harness-run.jsonl").exists()
    assert "Traceback" not in "".join(log.read_text() for log in tmp_path.glob("*.log"))


@pytest.mark.slow
def test_a_service_that_crosses_sessions_fails_and_its_records_stay() -> None:
    ended = chaos(*SHORT, CHAOS_MUTATION="crossed_session")
    assert ended.returncode == 1
    *_, result, where = ended.stdout.splitlines()
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
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert arguments[0] in ended.stderr


def test_a_taken_port_is_one_line_and_status_2() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ended = chaos("--port", str(other.getsockname()[1]))
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", *SHORT, "--keep", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: list(tmp_path.glob("client-json-*.jsonl")), 60, "clients")
        service = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert service
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
    until(lambda: not any(map(psutil.pid_exists, service)), 5, "the end of all processes")
