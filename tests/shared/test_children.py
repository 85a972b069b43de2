"""Children, as real processes: their deaths, their restarts, their end."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from shared.children import Backoff, Child, Children

ROOT = Path(__file__).parent.parent.parent
FOR_EVER = Backoff(first=3600.0, most=3600.0)


def python(program: str, *argv: object) -> list[str]:
    """Starts faster without site-packages."""
    return [sys.executable, "-I", "-S", "-c", f"import os, signal, sys, time\n{program}", *map(str, argv)]


class Family:
    """Children whose deaths can be awaited, and a pipe through which they say things."""

    def __init__(self, fruitful: bool = False, backoff: Backoff = FOR_EVER) -> None:
        self.exits: asyncio.Queue[tuple[Child, int | None]] = asyncio.Queue()
        self._said, self.mouth = os.pipe()
        self.children = Children(
            {"LLM_CHAT_PORT": "7"},
            lambda child: self.exits.put_nowait((child, child.status)),
            lambda child: fruitful,
            [self.mouth],
            backoff,
        )

    def start(self, program: str, kept: bool = False) -> Child:
        """Run a program that finds the pipe in argv[1]."""
        return self.children.start(python(program, self.mouth), kept)

    async def death(self) -> Child:
        """The next child that ends."""
        child, status = await self.exits.get()
        assert status is not None
        return child

    async def word(self) -> str:
        """The next thing that a child says."""
        loop = asyncio.get_running_loop()
        audible = asyncio.Event()
        loop.add_reader(self._said, audible.set)
        try:
            await audible.wait()
            return os.read(self._said, 4096).decode()
        finally:
            loop.remove_reader(self._said)

    async def end(self, grace: float = 10.0) -> None:
        """Stop all; the pipe goes with them."""
        await self.children.stop(grace)
        os.close(self._said)
        os.close(self.mouth)


@asynccontextmanager
async def family(fruitful: bool = False, backoff: Backoff = FOR_EVER) -> AsyncIterator[Family]:
    made = Family(fruitful, backoff)
    try:
        yield made
    finally:
        await made.end()


SAY = "say = lambda text: os.write(int(sys.argv[1]), text.encode())\n"
READY_THEN_WAIT = SAY + "say('ready')\nwhile True: time.sleep(60)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY_THEN_WAIT


@pytest.mark.parametrize(
    ("fruitless", "delay"),
    [(0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0), (6, 8.0), (7, 10.0), (1000_000, 10.0)],
)
def test_the_first_restart_comes_at_once_later_ones_ever_later(fruitless: int, delay: float) -> None:
    assert Backoff().delay(fruitless) == delay


@pytest.mark.parametrize(
    ("program", "status", "ending"),
    [
        ("", 0, "exit status 0"),
        ("sys.exit(3)", 3, "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "killed by SIGKILL"),
    ],
)
async def test_a_death_is_told_with_its_cause(program: str, status: int, ending: str) -> None:
    async with family() as ours:
        started = ours.start(program)
        assert (started.status, started.ending) == (None, "still running")
        dead = await ours.death()
        assert (dead, dead.status, dead.ending) == (started, status, ending)
        assert ours.children.living == []


async def test_a_death_is_noticed_without_pidfd_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    async with family() as ours:
        started = ours.start("sys.exit(3)")
        assert (await ours.death(), started.status) == (started, 3)


def test_it_works_on_uvloop() -> None:
    async def main() -> None:
        async with family() as ours:
            ours.start(READY_THEN_WAIT, kept=True)
            assert await ours.word() == "ready"
            ours.children.living[0].send(signal.SIGKILL)
            assert (await ours.death()).status == -9
            assert await ours.word() == "ready"

    uvloop.run(main())


async def test_a_kept_child_comes_back_with_the_same_argv() -> None:
    async with family(fruitful=True) as ours:
        first = ours.start("sys.exit(1)", kept=True)
        lives = [await ours.death() for _ in range(4)]
        assert lives[0] is first
        assert len({life.pid for life in lives}) == 4
        assert {tuple(life.argv) for life in lives} == {tuple(first.argv)}


async def test_a_child_that_achieves_nothing_is_restarted_once_and_then_must_wait() -> None:
    async with family(fruitful=False) as ours:
        ours.start("sys.exit(1)", kept=True)
        lives = [await ours.death(), await ours.death()]
        await asyncio.sleep(0)
        assert [life.fruitless for life in lives] == [0, 1]
        assert ours.children.living == []


async def test_it_comes_back_after_its_wait() -> None:
    async with family(backoff=Backoff(first=0.001, most=0.001)) as ours:
        ours.start("sys.exit(1)", kept=True)
        assert [(await ours.death()).fruitless for _ in range(4)] == [0, 1, 2, 3]


async def test_a_child_that_is_not_kept_stays_dead() -> None:
    async with family(fruitful=True) as ours:
        ours.start("")
        await ours.death()
        for _ in range(3):
            await asyncio.sleep(0)
        assert ours.children.living == []


async def test_a_callback_that_fails_costs_no_restart() -> None:
    failures: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.put_nowait(context))
    deaths = []

    def failing(child: Child) -> None:
        deaths.append(child)
        raise RuntimeError("callback")

    children = Children({}, failing, lambda child: True)
    children.start(python("sys.exit(1)"))
    for _ in range(2):
        assert str((await failures.get())["exception"]) == "callback"
    await children.stop(10)
    assert len({child.pid for child in deaths}) >= 2


async def test_a_restart_that_fails_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = asyncio.Event()
    monkeypatch.setattr(logging.getLogger("shared.children"), "warning", lambda *args: logged.set())
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nmv "$0" "$0.away"\n')
    program.chmod(0o700)
    async with family(backoff=Backoff(first=0.001, most=0.001)) as ours:
        ours.children.start([str(program)])
        await ours.death()
        await logged.wait()
        (tmp_path / "program.away").rename(program)
        assert (await ours.death()).status == 0


async def test_starting_what_does_not_exist_says_so() -> None:
    async with family() as ours:
        with pytest.raises(FileNotFoundError):
            ours.children.start(["/no/such/program"])
        assert ours.children.living == []


async def test_stop_asks_politely_first() -> None:
    async with family() as ours:
        polite = ours.start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + READY_THEN_WAIT, kept=True)
        assert await ours.word() == "ready"
    assert polite.status == 0
    assert ours.exits.qsize() == 1


async def test_stop_kills_who_does_not_listen() -> None:
    ours = Family()
    stubborn = ours.start(STUBBORN, kept=True)
    assert await ours.word() == "ready"
    await ours.end(grace=0.05)
    assert stubborn.status == -signal.SIGKILL


async def test_stop_calls_off_restarts_and_nothing_starts_behind_it() -> None:
    ours = Family(fruitful=True)
    ours.start("", kept=True)
    await ours.death()
    await ours.end()
    with pytest.raises(OSError, match="stopping"):
        ours.start("")
    await ours.children.stop(0)
    assert ours.exits.empty()


async def test_children_have_our_environment_and_never_see_ctrl_c() -> None:
    async with family() as ours:
        ours.start(SAY + "say(f\"{os.environ['LLM_CHAT_PORT']} {signal.SIGINT in signal.pthread_sigmask(0, [])}\")")
        assert await ours.word() == "7 True"
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        await ours.death()


CHILD = """
import asyncio, os
from shared.children import watch_parent
async def main():
    gone = asyncio.Event()
    watch_parent(asyncio.get_running_loop(), gone.set)
    os.write(1, b"child\\n")
    await gone.wait()
    os.write(1, b"orphan\\n")
asyncio.run(main())
"""
PARENT = """
import asyncio, sys
from shared.children import Children
async def main():
    children = Children({}, print, lambda child: True)
    for _ in range(2):
        children.start([sys.executable, "-c", sys.argv[1]])
    await asyncio.Event().wait()
asyncio.run(main())
"""


def ended_by(end: Callable[[subprocess.Popen[str]], None]) -> list[str]:
    """What two children say after the end of their parent. Returns when nobody is left who could say anything."""
    command = [sys.executable, "-c", PARENT, CHILD]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout
        try:
            assert [parent.stdout.readline() for _ in range(2)] == ["child\n", "child\n"]
            end(parent)
            return parent.stdout.read().split()
        finally:
            parent.kill()


def test_children_see_that_their_parent_was_killed() -> None:
    assert ended_by(lambda parent: parent.kill()) == ["orphan", "orphan"]


def test_children_see_that_their_parent_just_ended() -> None:
    assert ended_by(lambda parent: parent.terminate()) == ["orphan", "orphan"]
