"""From options to records: the stage is put up, played on, brought to rest and taken down."""

import asyncio
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.cluster import NotStarted
from tests.chaos.faults.workers import LEASE
from tests.chaos.figure import Figure
from tests.chaos.ground import Ground
from tests.chaos.hosts import Network, why_not
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.stage import Stage

HARNESS = "harness"  # the host of this process and of all clients
RETENTION = 900.0  # seconds, the service's own default


async def perform(
    options: Options, scenario: Scenario, directory: Path, records: Path, ground: Ground
) -> Sequence[Figure]:
    """Raises cluster.NotStarted, stage.Stuck and OSError where the run could not be carried through, CancelledError
    where SIGTERM ended it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    stage = Stage(directory, records, scenario.settings, options.seed, options.broker, ground)
    stage.journal.write(
        "run",
        seed=options.seed,
        seconds=options.seconds,
        broker=options.broker,
        scenario=options.scenario,
        settings={
            "echo_chunks": stage.chunks,
            "echo_interval": float(scenario.settings["LLM_CHAT_ECHO_INTERVAL"]),
            "lease": LEASE,
            "retention": float(scenario.settings.get("LLM_CHAT_REPLY_RETENTION", RETENTION)),
        },
    )
    try:
        await stage.begin(scenario.gateways, scenario.workers, options.port, direct=scenario.direct)
        figures = await scenario.play(stage, options, options.size or scenario.size)
        await stage.finish()
    finally:
        await stage.end()
    return figures


def run(options: Options, scenario: Scenario, directory: Path, records: Path) -> Sequence[Figure]:
    """The same, with an event loop of its own. See perform."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with _ground(scenario) as ground, asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(perform(options, scenario, directory, records, ground))


@contextmanager
def _ground(scenario: Scenario) -> Iterator[Ground]:
    """Where nodes are to stand. Where they have hosts, this thread and all that it starts is on one, too. Raises
    NotStarted."""
    if not scenario.hosts:
        yield Ground()
        return
    if why := why_not():
        raise NotStarted(why)
    gateways = [f"gateway-{number}" for number in range(scenario.gateways)]
    workers = [f"worker-{number}" for number in range(scenario.workers)]
    with Network([HARNESS, "broker", *gateways, *workers]) as network, network.host(HARNESS).entered():
        yield Ground(network)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it is not made for every system
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
