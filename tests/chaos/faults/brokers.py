"""The broker hangs, or is gone with all that it held."""

import asyncio

import psutil

from tests.chaos.faults.base import Fault, NotRun, Occasion
from tests.chaos.plan import Sort
from tests.chaos.stage import Stage

LANE = "gateways"
PAUSE = 7.0  # seconds, longer than two leases


class BrokerFreeze(Fault):
    """No reply is to be restarted for it."""

    sort = Sort("broker_freeze", LANE, PAUSE + 2.0, True)
    words = f"SIGSTOP of the broker for {PAUSE:.0f} s, then SIGCONT"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        broker = _broker(stage)
        broker.suspend()
        try:
            occasion.begun("broker", "broker", [broker.pid])
            stage.journal.write("process", role="broker", name="broker", pid=broker.pid, state="stopped")
            await asyncio.sleep(PAUSE)
        finally:
            broker.resume()
            stage.journal.write("process", role="broker", name="broker", pid=broker.pid, state="continued")


class BrokerKill(Fault):
    """The next one has an empty memory. What is lost must be said."""

    sort = Sort("broker_kill", LANE, 4.0, True)
    words = "kill -9 of the broker, with the queue that it holds in memory"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        broker = _broker(stage)
        broker.kill()
        occasion.begun("broker", "broker", [broker.pid])
        stage.journal.write("process", role="broker", name="broker", pid=broker.pid, state="killed")
        heir = await stage.cluster.next_broker(broker.pid)
        stage.journal.write("process", role="broker", name="broker", pid=heir, state="started")


def _broker(stage: Stage) -> psutil.Process:
    pid = stage.cluster.broker_pid()
    if not pid:
        raise NotRun("no broker was there")
    return psutil.Process(pid)
