"""The safety net must hold: a test that leaks fails, one that says what it keeps does not."""

from pathlib import Path

import pytest

from tests.conftest import FakeClock, require

LEAKS = """
import asyncio, os, subprocess, sys, threading
import pytest

kept = []

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(100)))

def test_thread():
    threading.Thread(target=threading.Event().wait, args=(2,), daemon=True, name="stray").start()

def test_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    os.close(kept[-1].stdin.detach().detach().fileno()) if False else None

def test_file():
    kept.append(os.open(os.devnull, os.O_RDONLY))
"""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A test run of its own, under our conftest."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nasyncio_mode = auto\nmarkers = keeps\n")
    return pytester
