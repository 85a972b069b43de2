"""One engine process: `python -m worker.process`, started by the supervisor and by nobody else.

It ends by SIGTERM, by the death of its supervisor and, where it runs suspects alone, when it has nothing more to do.
Ctrl-C is the supervisor's to handle.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

import structlog

from shared import garbage, logs, settings
from shared.broker import WorkerBroker
from shared.brokers import open_worker_broker
from shared.children import watch_parent
from shared.clock import SystemClock
from shared.settings import Settings
from shared.store import Store, open_store
from worker.engines import open_engine
from worker.engines.base import Engine
from worker.loop import new_event_loop
from worker.report import Reporter
from worker.runner import Runner

MODULE = "worker.process"
CANNOT_WORK = 1  # exit status: it may be otherwise the next time
MISCONFIGURED = 2  # exit status: starting again would not help
LONELY = 2.0  # seconds without work after which a process that runs suspects alone ends
LAST_CLOSE = 0.3  # seconds for the broker, and again for the engine, to say goodbye

log = structlog.get_logger("engine")


class Misconfigured(Exception):
    """A setting is wrong; the message is a sentence for the operator, `status` the exit status."""

    def __init__(self, sentence: str, status: int = MISCONFIGURED) -> None:
        super().__init__(sentence)
        self.status = status


class Identity(NamedTuple):
    """What the supervisor tells its child. `family` and the process id make the name by which the broker knows it."""

    family: str
    report: int  # descriptor of the socket for reports
    alone: bool

    def argv(self) -> list[str]:
        """The command that starts such a child."""
        options = ["--family", self.family, "--report", str(self.report)]
        return [sys.executable, "-m", MODULE, *options, *(["--alone"] if self.alone else [])]

    @staticmethod
    def parse(argv: Sequence[str]) -> "Identity":
        """The inverse, without the command's name."""
        parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="started by python -m worker")
        parser.add_argument("--family", required=True)
        parser.add_argument("--report", type=int, required=True)
        parser.add_argument("--alone", action="store_true")
        return Identity(**vars(parser.parse_args(argv)))


def worker_name(family: str, pid: int) -> str:
    """The name by which the broker knows an engine process."""
    return f"{family}-{pid}"


async def serve(
    settings: Settings, broker: WorkerBroker, store: Store | None, engine: Engine, reporter: Reporter, alone: bool
) -> None:
    """Work until told to stop. Raises what cannot be mended by waiting."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    watch_parent(loop, stop.set)
    slots = 1 if alone else settings.worker.slots or engine.slots
    lease = settings.lease.seconds
    runner = Runner(broker, engine, SystemClock(), slots=slots, lease=lease, watch=reporter, alone=alone, store=store)
    working = asyncio.ensure_future(runner.run())
    ends: list[asyncio.Future[Any]] = [working, asyncio.ensure_future(stop.wait())]
    if alone:
        ends.append(asyncio.ensure_future(runner.idle(LONELY)))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        await runner.drain(settings.worker.grace)
    for end in ends:
        end.cancel()
    await asyncio.wait(ends)
    if not working.cancelled():
        working.result()


async def run(settings: Settings, identity: Identity) -> None:
    """Open what an engine process needs, serve, and close it again. Raises Misconfigured."""
    reporter = Reporter(socket.socket(fileno=identity.report), os.getpid())
    try:
        engine = open_engine(settings)
        store = await open_store(settings)
        broker = await open_worker_broker(settings, worker_name(identity.family, os.getpid()), patient=True)
    except ValueError as error:
        raise Misconfigured(str(error)) from None
    garbage.settle()
    try:
        await serve(settings, broker, store, engine, reporter, identity.alone)
    finally:
        await within(LAST_CLOSE, broker.close())
        await within(LAST_CLOSE, engine.close())
        if store is not None:
            await within(LAST_CLOSE, store.close())


async def within(seconds: float, closing: Awaitable[None]) -> None:
    """Wait for something that may fail or hang, but must not hold up the end of the process."""
    try:
        await asyncio.wait_for(closing, seconds)
    except TimeoutError:
        log.warning("gave up waiting for a goodbye")
    except Exception:
        log.exception("could not close in order")


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    identity = Identity.parse(argv)
    loaded = settings.load("worker", [])
    logs.setup(loaded.log, "engine alone" if identity.alone else "engine")
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run(loaded, identity))
    except Misconfigured as wrong:
        log.error(str(wrong))
        return MISCONFIGURED
    except Exception:
        log.exception("the engine process ends")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
