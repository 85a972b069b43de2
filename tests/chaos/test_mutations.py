"""The real service, broken on purpose in one place after the other: the checker says so, each time for its own reason;
and unbroken, in the same circumstances, it passes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.checker import Verdict, judge
from tests.chaos.records import Journal
from tests.chaos.talker import Talker, talk_plain
from tests.chaos.witness.mutations import MUTATIONS
from tests.processes.service import ROOT, START_SECONDS, Gateway, Process, Service, until

pytestmark = pytest.mark.timeout(60)

CHUNKS = 10
LONG = 50  # chunks of replies that go on until their zombies come back
INTERVAL = 0.03  # seconds between two pieces
LEASE = 0.5  # seconds
OVER = 0.5  # seconds that a zombie sleeps longer than that
INJECT = ROOT / "tests" / "chaos" / "inject"


class Stage:
    """A service that is watched, and broken where `mutation` is not empty."""

    def __init__(self, directory: Path, mutation: str, chunks: int) -> None:
        self.records = directory / "records"
        self.records.mkdir()
        self.journal = Journal(self.records, "harness-run")
        settings = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(INJECT), os.environ.get("PYTHONPATH")])),
            "CHAOS_DIRECTORY": str(self.records),
            "CHAOS_MUTATION": mutation,
            "LLM_CHAT_ECHO_CHUNKS": str(chunks),
            "LLM_CHAT_ECHO_INTERVAL": str(INTERVAL),
            "LLM_CHAT_LEASE_SECONDS": str(LEASE),
        }
        self.service = Service(directory, settings)
        self.chunks = chunks
        self._talkers: list[Talker] = []
        self.gateway: Gateway
        self.worker: Process

    def start(self) -> None:
        """One gateway, one worker of two engine processes."""
        self.journal.write("run", settings={"echo_chunks": self.chunks, "retention": 900.0})
        self.worker = self.service.worker("--processes", "2")
        self.gateway = self.service.gateway()
        until(lambda: (self.stats() or {"workers": 0})["workers"] == 2, START_SECONDS, "both engine processes")
        self._base = self._measure()

    async def talker(self, name: str) -> Talker:
        """A client with a session."""
        talker = Talker(self.records, name, self.gateway.ws)
        self._talkers.append(talker)
        await talker.open()
        return talker

    async def verdict(self) -> Verdict:
        """Let all come to rest, look what is left, judge."""
        for talker in self._talkers:
            await talker.end()
        await asyncio.sleep(0.3)
        self.journal.write("quiet", stats=self.stats(), processes=self._measure(), base=self._base)
        self.journal.close()
        return judge(self.records)

    def stats(self) -> dict[str, Any] | None:
        """What the broker says of itself."""
        _, body = self.gateway.get("/readyz?verbose")
        found: dict[str, Any] | None = body and body["broker"]
        return found

    def busiest(self) -> psutil.Process:
        """The engine process that has got most to do."""
        return max(self.worker.children(), key=lambda engine: self._leases(engine.pid))

    def _leases(self, pid: int) -> int:
        return (self.records / f"worker-{pid}.jsonl").read_text().count('"leased"')

    def fault(self, name: str, role: str, *pids: int) -> None:
        """Record one."""
        self.journal.write("fault", name=name, number=1, state="begun", victim={"role": role, "name": "", "pids": pids})

    def _measure(self) -> list[dict[str, Any]]:
        pids = [("gateway", self.gateway.process.pid)]
        pids += [("engine", child.pid) for child in self.worker.children()]
        return [_measure(role, pid) for role, pid in pids]


def _measure(role: str, pid: int) -> dict[str, Any]:
    process = psutil.Process(pid)
    fields = {"fds": process.num_fds(), "threads": process.num_threads(), "rss": process.memory_info().rss}
    return {"role": role, "name": role, "pid": pid, **fields}


@asynccontextmanager
async def staged(directory: Path, mutation: str, play: "Play") -> AsyncIterator[Stage]:
    """A stage with a running service."""
    stage = Stage(directory, mutation, LONG if play is zombies else CHUNKS)
    try:
        await asyncio.to_thread(stage.start)
        yield stage
    finally:
        await asyncio.to_thread(stage.service.end)


async def chat(stage: Stage) -> None:
    """Several sessions at once; some messages are cancelled, some sent again; everything is read again."""

    async def talk(name: str) -> None:
        talker = await stage.talker(name)
        await talker.ask("m1")
        await talker.say("message", id="m1", content=f"{name}/m1")
        await talker.ask("m2", cancel_after=4)
        await talker.ask("m3")
        await talker.replay()

    async with asyncio.TaskGroup() as tasks:
        for name in ("a", "b", "c", "d", "e", "f"):
            tasks.create_task(talk(name))
        tasks.create_task(talk_plain(stage.records, "p", stage.gateway.ws, CHUNKS))


async def zombies(stage: Stage) -> None:
    """Engine processes are stopped for longer than their leases and go on then, while others have gone on."""
    talkers = [await stage.talker(name) for name in ("a", "b", "c", "d", "e", "f")]

    async def freeze() -> None:
        await asyncio.sleep(CHUNKS * INTERVAL / 3)
        engine = stage.busiest()
        engine.send_signal(signal.SIGSTOP)
        stage.fault("freeze", "engine", engine.pid)
        await asyncio.sleep(LEASE + OVER)
        engine.send_signal(signal.SIGCONT)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(freeze())
        for talker in talkers:
            tasks.create_task(talker.ask("m1"))


async def amnesia(stage: Stage) -> None:
    """The broker is killed in mid-stream."""
    talkers = [await stage.talker(name) for name in ("a", "b")]

    async def kill() -> None:
        await asyncio.sleep(CHUNKS * INTERVAL / 3)
        broker = stage.service.broker_process()
        assert broker is not None
        broker.kill()
        stage.fault("broker_kill", "broker", broker.pid)
        await asyncio.to_thread(until, lambda: stage.gateway.get("/readyz")[0] == 200)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kill())
        for talker in talkers:
            tasks.create_task(talker.ask("m1"))
    for talker in talkers:
        await talker.ask("m2")


Play = Callable[[Stage], Awaitable[None]]


@pytest.mark.parametrize("play", [chat, zombies, pytest.param(amnesia, marks=pytest.mark.slow)])
async def test_the_service_as_it_is_passes(tmp_path: Path, play: Play) -> None:
    async with staged(tmp_path, "", play) as stage:
        await play(stage)
        verdict = await stage.verdict()
    assert list(map(str, verdict.violations)) == []
    if play is zombies:
        assert verdict.figures.refused_appends > 0
        assert verdict.hits["freeze"].midstream > 0


NOTICED: dict[str, tuple[Play, str]] = {
    "no_fence": (zombies, "zombie_invisible"),
    "doubled_append": (chat, "contiguous"),
    "leaked_lease": (chat, "quiet_is_empty"),
    "twice_run": (chat, "idempotent"),
    "dropped_drain": (chat, "contiguous"),
    "crossed_session": (chat, "canary"),
    "silent_loss": (amnesia, "loss_is_said"),
    "false_loss": (chat, "loss_is_true"),
    "leaked_descriptor": (chat, "quiet_is_empty"),
    "altered_replay": (chat, "replay_equals_live"),
    "no_terminal": (chat, "accepted_one_terminal"),
    "second_terminal": (chat, "accepted_one_terminal"),
    "after_terminal": (chat, "nothing_after_terminal"),
    "after_cancel": (chat, "nothing_after_cancel"),
    "bad_hash": (chat, "sha256"),
    "skipped_piece": (chat, "text"),
    "runs_on": (chat, "stop_stops"),
}

ELSEWHERE = {"forgotten_reply"}  # in test_leaks.py


USUAL = ("no_fence", "doubled_append", "dropped_drain", "crossed_session")


@pytest.mark.parametrize(
    ("mutation", "noticed"),
    [pytest.param(*one, id=one[0], marks=[] if one[0] in USUAL else pytest.mark.slow) for one in NOTICED.items()],
)
async def test_a_broken_service_is_noticed(tmp_path: Path, mutation: str, noticed: tuple[Play, str]) -> None:
    play, rule = noticed
    async with staged(tmp_path, mutation, play) as stage:
        await play(stage)
        verdict = await stage.verdict()
    assert any('"mutated"' in path.read_text() for path in stage.records.glob("witness-*.jsonl"))
    assert rule in verdict.broken
    assert "witness" not in verdict.broken
    assert "load" not in verdict.broken


def test_every_mutation_is_tried() -> None:
    assert NOTICED.keys() | ELSEWHERE == MUTATIONS.keys()
