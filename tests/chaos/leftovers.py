"""What a service at rest takes, process by process and in the broker: what two looks differ by was left behind."""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.chaos.stage import Stage

INSIDE = 5.0  # seconds that a process has to answer
LOOK = 0.05
COUNTED = ("fds", "threads", "tasks", "blocks", "rss")


class Life(NamedTuple):
    """One life of a process."""

    role: str
    name: str
    pid: int


class Leftovers(NamedTuple):
    """`processes`: by life, what COUNTED names; a process that is no Python has neither tasks nor blocks. `keys`: in
    Redis, by kind. `stats` are the broker's own."""

    processes: Mapping[Life, Mapping[str, int]]
    keys: Counter[str]
    stats: Mapping[str, Any]

    def grown(self, base: "Leftovers", what: str) -> Mapping[Life, int]:
        """By how much, each process that lives since then."""
        return {life: self.processes[life][what] - base.processes[life][what] for life in self.same(base, what)}

    def in_words(self, base: "Leftovers", what: str) -> str:
        """As in `gateway-0 18 to 18, broker 7 to 7`."""
        pairs = [(life, base.processes[life][what], self.processes[life][what]) for life in self.same(base, what)]
        return ", ".join(f"{_called(life)} {was:,} to {now:,}" for life, was, now in pairs)

    def same(self, base: "Leftovers", what: str = "fds") -> list[Life]:
        """The processes that were there then, and can be asked for it."""
        lives = self.processes.keys() & base.processes.keys()
        return sorted(life for life in lives if what in self.processes[life] and what in base.processes[life])

    def more_keys(self, base: "Leftovers") -> Counter[str]:
        """Keys that were not there then, by kind."""
        return self.keys - base.keys


def _called(life: Life) -> str:
    return f"engine of {life.name}" if life.role == "engine" else life.name


async def look(stage: Stage) -> Leftovers:
    """Now. Raises TimeoutError where a process does not answer."""
    stats = await stage.cluster.stats() or {}
    keys = await asyncio.to_thread(_keys, stage.cluster.house.url)
    pids = [one["pid"] for one in stage.cluster.measure()]
    told = await _inside(stage.records, [pid for pid in pids if _is_python(pid)])  # first: it may open a file
    measured = stage.cluster.measure()
    processes = {}
    for one in measured:
        whole = one | told.get(one["pid"], {})
        processes[Life(one["role"], one["name"], one["pid"])] = {name: whole[name] for name in COUNTED if name in whole}
    return Leftovers(processes, keys, stats)


def _keys(url: str) -> Counter[str]:
    """Kinds are what stands before the name of a session, a generation or a process."""
    if not url.startswith("redis:"):
        return Counter()
    with redis.Redis.from_url(url, protocol=2) as client:
        return Counter(_kind(key.decode()) for key in client.scan_iter(count=1000))


def _kind(key: str) -> str:
    kind = key.removeprefix("{llm-chat}:").split(":")
    return (
        re.sub(r"\d.*", "", kind[0]) + (":" if len(kind) > 1 else "") + (kind[2] if kind[2:] and kind[0] != "r" else "")
    )


def _is_python(pid: int) -> bool:
    try:
        return b"python" in Path(f"/proc/{pid}/exe").readlink().name.encode()
    except OSError:
        return False


async def _inside(records: Path, pids: Sequence[int]) -> dict[int, dict[str, int]]:
    asked = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGUSR2)
    found: dict[int, dict[str, int]] = {}
    while missing := [pid for pid in pids if pid not in found]:
        if time.monotonic() > asked + INSIDE:
            raise TimeoutError(f"processes that do not say what is inside of them: {missing}")
        await asyncio.sleep(LOOK)
        found |= {pid: answer for pid in missing if (answer := _answer(records / f"witness-{pid}.jsonl", asked))}
    return found


def _answer(path: Path, asked: float) -> dict[str, int] | None:
    for line in path.read_bytes().splitlines()[::-1] if path.exists() else ():
        record = json.loads(line)
        if record["what"] == "inside" and record["t"] >= asked:
            return {name: record[name] for name in ("tasks", "blocks")}
    return None
