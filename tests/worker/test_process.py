"""Real processes, real signals, a real broker."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from shared.broker import GatewayBroker
from shared.brokers import open_gateway_broker, open_worker_broker
from shared.clock import SystemClock
from shared.messages import Delta, Event, Failed, Started, Stats, Submission, Takeover, decode_events
from shared.request import GenerationRequest, Turn, encode_request
from shared.settings import BrokerSettings, EchoSettings, LeaseSettings, OpenAISettings, Settings, WorkerSettings
from tests.worker import child
from worker import report
from worker.process import Identity
from worker.supervisor import Supervisor

ROOT = Path(__file__).parent.parent.parent
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Those of a broker of our own."""
    with tempfile.TemporaryDirectory() as directory:
        yield Settings(
            broker=BrokerSettings(url=f"manager://{directory}/b"),
            echo=EchoSettings(interval=0.1),
            lease=LeaseSettings(seconds=0.6),
            worker=WorkerSettings(grace=1.0),
        )


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m module`; what is left at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(module: str, settings: Settings, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, **settings.environment(), **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator["Chat"]:
    """What a gateway sees."""
    broker = await open_gateway_broker(settings, "g")
    await broker.open("s", "owner", None, None)
    try:
        yield Chat(broker)
    finally:
        await broker.close()


@pytest.fixture
async def chat(settings: Settings, start: Start) -> AsyncIterator["Chat"]:
    """A gateway before a broker of the test's own."""
    broker = start("shared.brokers.manager", settings)
    assert broker.stderr is not None
    assert "ready" in await asyncio.to_thread(broker.stderr.readline)
    async with gateway(settings) as chat:
        yield chat
    broker.terminate()
    await asyncio.to_thread(broker.communicate)


class Chat:
    """One session, seen from the gateway's side."""

    def __init__(self, broker: GatewayBroker) -> None:
        self.broker = broker

    async def say(self, content: str, id: str = "m1") -> None:
        """Put a message into the queue."""
        request = GenerationRequest((Turn("user", content),))
        await self.broker.submit(Submission("s", id, 0, encode_request(request)))

    async def events(self, id: str = "m1") -> list[Event]:
        """All that is stored of a reply."""
        items = (await self.broker.read("s", None, 1 << 20)).items
        return [event for item in items if item.id == id for event in decode_events(item.events)]

    async def until(self, enough: Callable[[list[Event]], bool], id: str = "m1") -> list[Event]:
        """The reply as soon as it is such."""
        while not enough(events := await self.events(id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return events

    async def counts(self, enough: Callable[[Stats], bool]) -> None:
        """Return when the broker's numbers are such."""
        while not enough(await self.broker.stats()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def reply(self, id: str = "m1") -> list[Event]:
        """The whole reply."""
        return await self.until(ended, id)


def ended(events: list[Event]) -> bool:
    return bool(events) and not isinstance(events[-1], Started | Takeover | Delta)


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def status_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How it ended, and what it said."""
    _, said = await asyncio.to_thread(process.communicate)
    return process.returncode, said


async def soon(condition: Callable[[], object]) -> None:
    """Return when it holds."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def engines_of(worker: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(worker.pid).children()


# --- python -m worker -------------------------------------------------------------------------------------------------


async def test_a_killed_engine_process_is_replaced_and_its_reply_goes_on(
    chat: Chat, settings: Settings, start: Start
) -> None:
    worker = start("worker", settings)
    await chat.say("Hello")
    await chat.until(lambda events: len(events) >= 3)
    (engine,) = engines_of(worker)
    engine.kill()
    events = await chat.reply()
    assert text(events) == "\n".join(f"chunk {number}: Hello" for number in range(1, 6))
    assert [event for event in events if isinstance(event, Takeover)] == [Takeover(True)]
    worker.terminate()
    status, said = await status_of(worker)
    assert status == 0
    assert "killed by SIGKILL" in said
    assert "Traceback" not in said


async def test_stopping_finishes_what_it_can_and_hands_back_the_rest(
    chat: Chat, settings: Settings, start: Start
) -> None:
    await chat.broker.open("t", "owner", None, None)
    worker = start("worker", settings.model_copy(update={"echo": EchoSettings(interval=0.2, chunks=8)}))
    await chat.say("soon done")
    await chat.until(lambda events: len(events) >= 6)
    long = encode_request(GenerationRequest((Turn("user", "later"),)))
    await chat.broker.submit(Submission("t", "m2", 0, long))
    await chat.counts(lambda stats: stats.queued == 0)
    worker.terminate()
    worker.terminate()  # a supervisor of supervisors may say it to the whole group
    status, said = await status_of(worker)
    assert (status, "Traceback" in said) == (0, False)
    assert ended(await chat.events())
    stats = await chat.broker.stats()
    assert (stats.queued, stats.running, stats.suspects) == (1, 0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_a_broker_it_waits_says_so_and_can_be_stopped(
    settings: Settings, start: Start, number: signal.Signals
) -> None:
    worker = start("worker", settings, LLM_CHAT_LOG_FORMAT="console")
    await soon(lambda: engines_of(worker))
    await asyncio.sleep(0.5)
    os.killpg(worker.pid, number)  # as Ctrl-C does, and honcho
    status, said = await status_of(worker)
    assert status == 0
    assert "waiting for the broker" in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc to see when our code begins to run")
async def test_a_signal_at_any_moment_of_the_start_is_a_stop(settings: Settings, start: Start) -> None:
    for delay in (0.1, 0.2, 0.3, 0.45):
        worker = start("worker", settings)
        await soon(lambda: "SigBlk:\t0000000000004002" in Path(f"/proc/{worker.pid}/status").read_text())  # noqa: B023
        await asyncio.sleep(delay)
        worker.send_signal(signal.SIGINT)
        status, said = await status_of(worker)
        assert (status, "Traceback" in said) == (0, False)


async def test_the_death_of_the_supervisor_ends_its_engine_processes(settings: Settings, start: Start) -> None:
    worker = start("worker", settings)
    await soon(lambda: engines_of(worker))
    (engine,) = engines_of(worker)
    await asyncio.sleep(0.5)
    worker.kill()
    await asyncio.to_thread(psutil.wait_procs, [engine], 5)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLM_CHAT_ENGINE", "ecko", "LLM_CHAT_ENGINE may be one of echo, openai"),
        ("LLM_CHAT_BROKER_URL", "kafka://x", "no broker is known for 'kafka'"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_status_2(
    settings: Settings, start: Start, name: str, value: str, said: str
) -> None:
    status, lines = await status_of(start("worker", settings, **{name: value}))
    assert status == 2
    assert said in lines
    assert lines.count("\n") == 1


# --- a supervisor with engine processes of the test ------------------------------------------------------------------


@asynccontextmanager
async def supervised(settings: Settings) -> AsyncIterator[Supervisor]:
    """A supervisor within this process, whose children have the engine of tests/worker/child.py."""
    family, ends = f"test-{secrets.token_hex(4)}", report.pair()
    broker = await open_worker_broker(settings, f"{family}-supervisor")

    def command(alone: bool) -> list[str]:
        argv = Identity(family, ends[1].fileno(), alone).argv()
        return [child.__name__ if word == "worker.process" else word for word in argv]

    supervisor = Supervisor(settings, broker, SystemClock(), family, command, ends)
    running = asyncio.ensure_future(supervisor.run())
    try:
        yield supervisor
    finally:
        supervisor.stop()
        assert await running == 0


async def test_a_supervisor_renews_for_an_engine_that_blocks(chat: Chat, settings: Settings) -> None:
    async with supervised(settings):
        await chat.say("block 1.4")
        assert await chat.until(ended) == [Started("obedient"), Delta("block 1.4"), (await chat.events())[-1]]


async def test_but_not_for_longer_than_the_engine_may_take(chat: Chat, settings: Settings) -> None:
    async with supervised(settings.model_copy(update={"openai": OpenAISettings(model="0.1")})):
        await chat.say("block 1.4")
        await chat.counts(lambda stats: stats.running == 1)
        await chat.counts(lambda stats: stats.queued == 1)
        assert await chat.events() == []


async def test_a_poison_message_ends_alone_and_takes_nobody_with_it(chat: Chat, settings: Settings) -> None:
    async with supervised(settings):
        await chat.say("die")
        events = await chat.reply()
        assert isinstance(events[-1], Failed)
        assert events[-1].code == "worker_lost"
        await chat.say("well?", "m2")
        assert text(await chat.reply("m2")) == "well?"


def test_identities_travel_by_the_command_line() -> None:
    for alone in (True, False):
        identity = Identity("host-1a2b", 7, alone)
        assert Identity.parse(identity.argv()[3:]) == identity
    assert socket.gethostname()
