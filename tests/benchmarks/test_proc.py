"""What is read of processes is what they did."""

import os
import subprocess
import sys
import time

import pytest

from benchmarks import proc
from benchmarks.servers import Servers, name_of


def test_the_processor_time_of_a_process_is_its_own() -> None:
    before = proc.cpu(os.getpid()).seconds
    own = time.process_time()
    while time.process_time() < own + 0.05:
        pass
    assert 0.04 < proc.cpu(os.getpid()).seconds - before < 5


def test_writes_are_counted() -> None:
    before = proc.writes(os.getpid())
    with open(os.devnull, "wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x")
    assert proc.writes(os.getpid()) - before >= 100


def test_memory_that_a_process_takes_is_seen() -> None:
    before = proc.own_memory(os.getpid())
    taken = bytearray(os.urandom(8 << 20))
    assert proc.own_memory(os.getpid()) - before > 6 << 20
    del taken


def test_the_machine_works() -> None:
    assert proc.busy() > 0
    assert proc.kernel_memory() > 0


def test_the_marked_are_found_with_their_children_and_nobody_is_left() -> None:
    sleep = "import time; time.sleep(60)"
    parent = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}], start_new_session=True); {sleep}"
    )
    servers = Servers([[sys.executable, "-c", parent]], {})
    try:
        deadline = time.monotonic() + 10
        while len(servers.processes()) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        found = servers.processes()
        assert len(found) == 2
        assert servers.memory().total() > 0
    finally:
        servers.stop()
    assert not any(proc.alive(pid) for pid in found)


def test_the_dead_are_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not proc.alive(process.pid)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["python", "-m", "gateway", "--port", "1"], "gateway"),
        (["python", "-m", "gateway.child", "3"], "gateway"),
        (["python", "-m", "shared.brokers.manager", "--embedded"], "broker"),
        (["python", "-m", "worker.process"], "engine"),
        (["/cache/go-0123456789ab", "-address", "x"], "go"),
        (["python", "/x/naive.py", "1"], "naive"),
        ([], "?"),
    ],
)
def test_names(argv: list[str], name: str) -> None:
    assert name_of(argv) == name
