"""What every test stands on: nothing may be left behind, time can be handed in, and what is missing is said.

A test that rightly leaves something says so: `@pytest.mark.keeps("threads")` (also: tasks, children, files).
"""

import asyncio
import gc
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import uvloop

if TYPE_CHECKING:
    from tests.postgres import Cluster


def pytest_configure() -> None:
    """The settings of whoever runs the tests are not the tests' business, nor is what they have stored. And uvloop's
    first loop opens a pipe that stays for the life of the process: better now than in a test."""
    uvloop.new_event_loop().close()
    for name in [name for name in os.environ if name.upper().startswith("LLM_CHAT_")]:
        del os.environ[name]
    os.environ["LLM_CHAT_DATABASE_URL"] = "none"  # else it is a file of whoever runs the tests


def require(condition: object, reason: str) -> None:
    """For what this machine may lack: skips the test at home, but fails it in CI (CI=true), where `.ci/run` must have
    brought it.

        require(shutil.which("node"), "needs Node.js: apt-get install nodejs")
    """
    if condition:
        return
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(f"CI must not skip: {reason}", pytrace=False)
    pytest.skip(reason)


class FakeClock:
    """A `shared.clock.Clock` that stands still until it is told to advance."""

    def __init__(self, now: float = 1000.0, wall_ms: int = 1_700_000_000_000) -> None:
        self._now = now
        self._wall_ms = wall_ms

    def now(self) -> float:
        """Seconds."""
        return self._now

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._wall_ms

    def advance(self, seconds: float) -> None:
        """Let time pass, on both."""
        self._now += seconds
        self._wall_ms += round(seconds * 1000)

    def set_wall(self, wall_ms: int) -> None:
        """Somebody sets the machine's clock."""
        self._wall_ms = wall_ms


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes only by `clock.advance`."""
    return FakeClock()


# --- nothing is left behind -----------------------------------------------------------------------------------------


def threads() -> dict[int, str]:
    """The living threads."""
    return {thread.native_id or 0: thread.name for thread in threading.enumerate() if thread.is_alive()}


def children() -> dict[int, str]:
    """The child processes, unreaped ones included."""
    lists = [_text(file) for file in Path("/proc/self/task").glob("*/children")]
    pids = [int(pid) for text in lists for pid in text.split()]
    if not lists:  # not on Linux
        pids = [process.pid for process in psutil.Process().children()]
    return {pid: _command(pid) for pid in pids}


def files() -> dict[int, str]:
    """The open file descriptors and what they stand for."""
    found = {}
    directory = Path("/proc/self/fd")
    for name in os.listdir(directory) if directory.is_dir() else ():
        try:
            found[int(name)] = str((directory / name).readlink())
        except OSError:  # that of the listing itself
            continue
    return found


KINDS: dict[str, Callable[[], dict[int, str]]] = {"threads": threads, "children": children, "files": files}


def _text(file: Path) -> str:
    """Of a thread's file; the thread may have ended since it was listed."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()) or "(ended, not reaped)"
    except psutil.Error:
        return "(gone)"


def _kept(request: pytest.FixtureRequest) -> set[str]:
    return {kind for mark in request.node.iter_markers("keeps") for kind in mark.args}


def _left(before: dict[str, dict[int, str]]) -> list[str]:
    return [
        f"{kind}: {number} {text}"
        for kind, there in before.items()
        for number, text in KINDS[kind]().items()
        if (number not in there if kind == "children" else there.get(number) != text)  # one just begun has no name yet
    ]


def _left_for_good(before: dict[str, dict[int, str]]) -> list[str]:
    """What is on its way out gets a second for it; garbage is no leak."""
    until = time.monotonic() + 1
    while left := _left(before):
        if time.monotonic() > until:
            return left
        gc.collect()
        time.sleep(0.01)
    return []


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads, child processes or file descriptors. Set up before its event loop, and torn
    down after it."""
    before = {kind: look() for kind, look in KINDS.items() if kind not in _kept(request)}
    yield
    if left := _left_for_good(before):
        pytest.fail("the test left behind " + "; ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
def no_tasks_left(nothing_left: None, request: pytest.FixtureRequest) -> None:
    """Fail a test that leaves asyncio tasks."""
    is_async = inspect.iscoroutinefunction(getattr(request.node, "obj", None))
    if is_async and "tasks" not in _kept(request):
        request.getfixturevalue("_no_tasks_left")


@pytest.fixture
async def _no_tasks_left() -> AsyncIterator[None]:
    yield
    for _ in range(5):  # a cancelled task needs a turn of the loop or two
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        pytest.fail("the test left behind tasks: " + "; ".join(map(repr, left)), pytrace=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator["Cluster"]:
    """A PostgreSQL of our own."""
    from tests.postgres import Cluster

    cluster = Cluster()
    yield cluster
    cluster.remove()
