"""Runs with a figure of their own, by name."""

from tests.chaos.scenarios import (
    broker_pause,
    cancel,
    cancel_race,
    failover_gap,
    gateway_kill,
    idempotent_submit,
    leaks,
    reconnect,
    several_hosts,
    slow_readers,
    triple_kill,
    worker_kills,
    zombies,
)
from tests.chaos.scenarios.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {
    "broker_pause": broker_pause.SCENARIO,
    "cancel": cancel.SCENARIO,
    "cancel_race": cancel_race.SCENARIO,
    "failover_gap": failover_gap.SCENARIO,
    "gateway_kill": gateway_kill.SCENARIO,
    "idempotent_submit": idempotent_submit.SCENARIO,
    "leaks": leaks.SCENARIO,
    "reconnect": reconnect.SCENARIO,
    "several_hosts": several_hosts.SCENARIO,
    "slow_readers": slow_readers.SCENARIO,
    "triple_kill": triple_kill.SCENARIO,
    "worker_kills": worker_kills.SCENARIO,
    "zombies": zombies.SCENARIO,
}
