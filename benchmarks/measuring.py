"""One run: a server started, loaded, measured and stopped."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks import proc
from benchmarks.generator import Load, Part
from benchmarks.histogram import Histogram
from benchmarks.peers import Commands, Peer
from benchmarks.scenarios import Scenario
from benchmarks.servers import Servers, Snapshot, free_port
from benchmarks.verdict import disturbed, faulty

WARM = 300  # connections that chat first and stay: what grows once only is no cost of the others
SETTLE = 1.0  # seconds for a server to come to rest

Record = dict[str, Any]
OpenLoad = Callable[[tuple[Part, ...], int], Load]
Watch = Callable[[Servers], None]


def nobody(servers: Servers) -> None:
    """Does not watch."""


class Ready(NamedTuple):
    """A peer that could be prepared."""

    peer: Peer
    start: Callable[[int, float], Commands]


class Counters(NamedTuple):
    """Of the servers, the machine and the clock at one moment."""

    servers: Snapshot
    machine: float
    at: float

    @staticmethod
    def read(servers: Servers) -> "Counters":
        """Now."""
        return Counters(servers.snapshot(), proc.busy(), time.monotonic())


def run(ready: Ready, scenario: Scenario, seed: int = 1, watch: Watch = nobody, look: Watch = nobody) -> Record:
    """Returns what was measured. `watch` is called when the load is about to begin, `look` when it has ended. Raises
    servers.NotStarted, generator.Failed."""
    port = free_port()
    servers = Servers(ready.start(port, scenario.interval), dict(ready.peer.settings))
    loads: list[Load] = []
    try:
        servers.listen_on(port)
        time.sleep(SETTLE)
        open_load = _opener(f"127.0.0.1:{port}", ready.peer, loads)
        _warm_up(open_load, scenario)
        return _measure(servers, open_load, scenario, seed, watch, look)
    finally:
        for load in loads:
            load.close()
        servers.stop()


def _opener(address: str, peer: Peer, loads: list[Load]) -> OpenLoad:
    def open_load(parts: tuple[Part, ...], seed: int) -> Load:
        load = Load(address, peer.path, peer.dialect, parts, seed)
        loads.append(load)
        return load

    return open_load


def _warm_up(open_load: OpenLoad, scenario: Scenario) -> None:
    count = min(WARM, sum(part.connections for part in scenario.parts))
    options = (("rate", "500"), ("messages", str(count)), ("seconds", "20s"))
    load = open_load((Part(count, options),), 99)
    load.connected()
    load.measured()
    time.sleep(SETTLE)


def _measure(servers: Servers, open_load: OpenLoad, scenario: Scenario, seed: int, watch: Watch, look: Watch) -> Record:
    record: Record = {}
    memory, kernel, before = servers.memory(), proc.kernel_memory(), Counters.read(servers)
    load = open_load(scenario.parts, seed)
    connected = load.connected()
    time.sleep(SETTLE)
    after = Counters.read(servers)
    if scenario.idles:
        record |= _accepted(connected, before, after)
        record["fresh"] = _per_connection(servers, memory, kernel, connected["open"])
        record |= _idle(servers, scenario)
    watch(servers)
    begun = Counters.read(servers)
    measured = load.measured()
    ended = Counters.read(servers)
    look(servers)
    if scenario.idles:
        time.sleep(2 * SETTLE)
        record["chatted"] = _per_connection(servers, memory, kernel, connected["open"])
    if any(part.has("stalled") for part in scenario.parts):
        record["grown_mb"] = round((servers.memory() - memory).total() / 1e6, 1)
    if not scenario.asks:
        record |= _accepted(measured, begun, ended)
        record["handshake_ms"] = percentiles(measured["handshake"])
    else:
        record |= _chatted(measured, begun, ended)
    if scenario.latencies:
        record |= {f"{name}_ms": percentiles(measured[name]) for name in ("first", "between", "whole")}
    record |= _trust(connected, measured, begun, ended)
    return record | ({"told": servers.told()} if record["faults"] else {})


def _accepted(load: Mapping[str, Any], before: Counters, after: Counters) -> Record:
    opened = max(1, load["open"])
    spent = after.servers.since(before.servers).cpu
    return {
        "accept_us": round(spent.total() * 1e6 / opened, 1),
        "accept_each_us": {name: round(cpu * 1e6 / opened, 1) for name, cpu in spent.items()},
        "opened": load["open"],
        "connect_s": round(load["connect_s"], 3),
    }


def _per_connection(servers: Servers, memory: Counter[str], kernel: int, connections: int) -> Record:
    grown = Counter(servers.memory())
    grown.subtract(memory)
    count = max(1, connections)
    return {
        "bytes": round(sum(grown.values()) / count),
        "each": {name: round(size / count) for name, size in grown.items()},
        "kernel_bytes": round((proc.kernel_memory() - kernel) / count),  # of both ends
    }


def _idle(servers: Servers, scenario: Scenario) -> Record:
    time.sleep(scenario.rests)
    since = Counters.read(servers)
    time.sleep(scenario.idles)
    now = Counters.read(servers)
    spent = now.servers.since(since.servers).cpu.total()
    return {"idle_cpu_share": round(spent / (now.at - since.at), 4)}


def _chatted(measured: Mapping[str, Any], begun: Counters, ended: Counters) -> Record:
    spent = ended.servers.since(begun.servers)
    chunks = max(1, measured["chunks"])
    wall = max(1e-9, measured["wall_s"])
    return {
        "us": round(spent.cpu.total() * 1e6 / chunks, 2),
        "each_us": {name: round(cpu * 1e6 / chunks, 2) for name, cpu in spent.cpu.items() if cpu > 0},
        "kernel_each_us": {name: round(cpu * 1e6 / chunks, 2) for name, cpu in spent.kernel.items() if cpu > 0},
        "writes": round(spent.writes.total() / chunks, 3),
        "writes_each": {name: round(count / chunks, 3) for name, count in spent.writes.items() if count},
        "chunks": measured["chunks"],
        "replies": measured["replies"],
        "chunks_s": round(measured["chunks"] / wall),
        "whole_mean_ms": round(measured["whole_sum_s"] * 1000 / max(1, measured["replies"]), 2),
        "load_us": round(measured["cpu_s"] * 1e6 / chunks, 2),
    }


def percentiles(histogram: Histogram) -> Record:
    """In milliseconds."""
    shares = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    found = {name: histogram.percentile(share) for name, share in shares}
    return {name: round(value / 1000, 2) for name, value in found.items() if value is not None}


def _trust(connected: Mapping[str, Any], measured: Mapping[str, Any], begun: Counters, ended: Counters) -> Record:
    wall = ended.at - begun.at
    servers = ended.servers.since(begun.servers).cpu.total()
    foreign = (ended.machine - begun.machine - servers - measured["cpu_s"]) / wall
    faults = {kind: count + connected["faults"][kind] for kind, count in measured["faults"].items()}
    why = [*measured["limits"], disturbed(foreign), faulty(faults)]
    return {
        "foreign_share": round(foreign, 3),
        "load_share": round(measured["cpu_s"] / wall, 3),
        "load_lag_ms": percentiles(measured["lag"]),
        "faults": {kind: count for kind, count in faults.items() if count},
        "samples": (connected["samples"] + measured["samples"])[:5],
        "doubts": [reason for reason in why if reason],
    }
