"""The faults that the harness can cause, by name."""

from collections.abc import Sequence

from tests.chaos.faults.base import Fault
from tests.chaos.faults.brokers import BrokerFreeze, BrokerKill
from tests.chaos.faults.engines import EngineKill, EngineKillBeforeFirst, EngineKillQueued, EngineKillTerminal
from tests.chaos.faults.gateways import GatewayKill, GatewayStop, RollingRestart, WallClock
from tests.chaos.faults.network import Cut, Delay, HalfOpen, ReadersStop, Reset
from tests.chaos.faults.workers import WorkerFreeze, WorkerKill

ALL: Sequence[type[Fault]] = (
    EngineKillQueued,
    EngineKillBeforeFirst,
    EngineKill,
    EngineKillTerminal,
    WorkerKill,
    WorkerFreeze,
    GatewayKill,
    GatewayStop,
    RollingRestart,
    WallClock,
    BrokerFreeze,
    BrokerKill,
    Cut,
    Delay,
    HalfOpen,
    Reset,
    ReadersStop,
)
FAULTS: dict[str, type[Fault]] = {fault.sort.name: fault for fault in ALL}
