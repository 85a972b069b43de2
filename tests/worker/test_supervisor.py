"""What a supervisor makes of the deaths of its children: real processes, a broker of the test's."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.errors import BrokerUnavailable
from shared.messages import Stats
from shared.settings import LeaseSettings, Settings, WorkerSettings
from tests.worker.fakes import HandBroker
from worker import report, supervisor
from worker.process import MISCONFIGURED
from worker.supervisor import Supervisor

SLEEP = "import time; time.sleep(60)"
SETTINGS = Settings(worker=WorkerSettings(processes=2, grace=0.0), lease=LeaseSettings(seconds=0.3))


class Broker(HandBroker):
    """Notes burials and renewals; `suspects` are those it tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.suspects = 0
        self.buried: list[str] = []
        self.renewed: list[list[int]] = []
        self.away = 0  # burials that are to fail first

    def bury(self, worker: str) -> "asyncio.Future[int]":
        """See WorkerBroker."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.away:
            self.away -= 1
            future.set_exception(BrokerUnavailable())
        else:
            self.buried.append(worker)
            future.set_result(self.suspects)
        return future

    def renew(self, leases: Sequence[int]) -> "asyncio.Future[None]":
        """See WorkerBroker."""
        self.renewed.append(list(leases))
        return super().renew(leases)

    def stats(self) -> "asyncio.Future[Stats]":
        """See WorkerBroker."""
        future: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        future.set_result(Stats("e", 0, 0, 0, self.suspects, 0, 0, 0))
        return future


class Scene:
    """A supervisor whose children run `script`, or `alone` where they run suspects."""

    def __init__(self, script: str, alone: str, settings: Settings) -> None:
        self.broker = Broker()
        self.scripts = {False: script, True: alone}
        self.commands: list[bool] = []
        self.ends = report.pair()
        self.supervisor = Supervisor(settings, self.broker, SystemClock(), "fam", self.command, self.ends)

    def command(self, alone: bool) -> list[str]:
        self.commands.append(alone)
        return [sys.executable, "-S", "-c", self.scripts[alone].replace("REPORT", str(self.ends[1].fileno()))]

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self.supervisor.children.living]

    def kill(self, pid: int) -> None:
        """As the out-of-memory killer would."""
        next(child for child in self.supervisor.children.living if child.pid == pid).send(signal.SIGKILL)


@asynccontextmanager
async def supervised(script: str = SLEEP, alone: str = SLEEP, settings: Settings = SETTINGS) -> AsyncIterator[Any]:
    scene = Scene(script, alone, settings)
    running = asyncio.ensure_future(scene.supervisor.run())
    await asyncio.sleep(0)
    try:
        yield scene
    finally:
        scene.supervisor.stop()
        assert await running == 0
    assert scene.broker.closed


async def soon(condition: Callable[[], object]) -> None:
    """Return when it holds."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_a_dead_child_is_buried_by_its_name_and_replaced() -> None:
    async with supervised() as scene:
        dead, other = scene.pids
        scene.kill(dead)
        await soon(lambda: scene.broker.buried and len(scene.pids) == 2)
        assert scene.broker.buried == [f"fam-{dead}"]
        assert other in scene.pids
        assert dead not in scene.pids


async def test_a_burial_that_does_not_get_through_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BURY_AGAIN", 0.0)
    async with supervised() as scene:
        scene.broker.away = 2
        dead = scene.pids[0]
        scene.kill(dead)
        await soon(lambda: scene.broker.buried)
        assert scene.broker.buried == [f"fam-{dead}"]


async def test_a_suspect_gets_one_child_of_its_own() -> None:
    async with supervised() as scene:
        scene.broker.suspects = 2
        for pid in scene.pids:
            scene.kill(pid)
        await soon(lambda: len(scene.broker.buried) == 2)
        await soon(lambda: len(scene.pids) == 3)
        assert scene.commands == [False, False, True]


async def test_the_slow_check_finds_suspects_and_replaces_an_alone_child_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "SLOW_CHECK", 0.02)
    async with supervised(alone="raise SystemExit(1)") as scene:
        scene.broker.suspects = 1
        await soon(lambda: scene.commands.count(True) >= 3)
        await soon(lambda: len(scene.broker.buried) >= 2)
        assert scene.commands.count(False) == 2


async def test_an_alone_child_that_dies_is_not_replaced_in_a_hurry() -> None:
    async with supervised(alone="raise SystemExit(1)") as scene:
        scene.broker.suspects = 1
        scene.kill(scene.pids[0])
        await soon(lambda: len(scene.broker.buried) == 2 and len(scene.pids) == 2)
        assert scene.commands == [False, False, True]


async def test_leases_of_a_child_that_is_silent_are_renewed() -> None:
    told = (
        "import socket; from worker.report import Reporter; import time;"
        "Reporter(socket.socket(fileno=REPORT), __import__('os').getpid()).holding([(5, 60.0)], True); time.sleep(60)"
    )
    script = f"import sys; sys.path[:0] = {sys.path!r}; {told}"
    async with supervised(script, settings=SETTINGS.model_copy(update={"worker": WorkerSettings(grace=0)})) as scene:
        await soon(lambda: len(scene.broker.renewed) >= 2)
        assert scene.broker.renewed[0] == [5]
        scene.kill(scene.pids[0])


async def test_a_child_that_knows_a_setting_to_be_wrong_ends_the_worker() -> None:
    scene = Scene(f"raise SystemExit({MISCONFIGURED})", SLEEP, SETTINGS)
    assert await asyncio.wait_for(scene.supervisor.run(), 10) == MISCONFIGURED


async def test_any_other_death_does_not() -> None:
    async with supervised("raise SystemExit(1)") as scene:
        await soon(lambda: len(scene.broker.buried) >= 4)


async def test_the_second_signal_ends_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SAME_PRESS", 0.05)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(end=''); time.sleep(60)"
    settings = Settings(worker=WorkerSettings(processes=1, grace=60.0))
    scene = Scene(stubborn, SLEEP, settings)
    running = asyncio.ensure_future(scene.supervisor.run())
    await asyncio.sleep(0.3)
    scene.supervisor.stop()
    scene.supervisor.stop()  # the same press of Ctrl-C, by another way
    await asyncio.sleep(0.1)
    assert not running.done()
    scene.supervisor.stop()
    assert await asyncio.wait_for(running, 5) == 0
