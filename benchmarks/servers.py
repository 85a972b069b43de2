"""The processes of one server under test, and what they have used so far."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks import proc
from benchmarks.places import ROOT

START_SECONDS = 40.0
STOP_SECONDS = 6.0
PREFIX = "LLM_CHAT_"


class NotStarted(Exception):
    """It does not serve; the message says why."""


class Snapshot(NamedTuple):
    """Sums since the start, by what the processes are called."""

    cpu: Counter[str]  # seconds
    kernel: Counter[str]  # of these, in system calls
    writes: Counter[str]

    def since(self, before: "Snapshot") -> "Snapshot":
        """What came between the two."""
        return Snapshot(*(_difference(mine, its) for mine, its in zip(self, before, strict=True)))


class Servers:
    """Started with a mark in their environment, by which their children are found, too, wherever they run."""

    def __init__(self, commands: Iterable[list[str]], settings: Mapping[str, str]) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="llm-chat-bench-")
        self._log = Path(self._home.name) / "log"
        value = uuid.uuid4().hex
        self._mark = f"BENCHMARK_RUN={value}"
        kept = {name: text for name, text in os.environ.items() if not name.upper().startswith(PREFIX)}
        places = {"HOME": self._home.name, "BENCHMARK_RUN": value}
        self._started = [self._start(argv, {**kept, **settings, **places}) for argv in commands]

    def _start(self, argv: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                argv,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def listen_on(self, port: int) -> None:
        """Wait until one of them takes connections. Raises NotStarted."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if any(one.poll() is not None for one in self._started):
                raise NotStarted(f"a server has ended: {self.told()}")
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.05)
        raise NotStarted(f"nothing listens on port {port}: {self.told()}")

    def told(self) -> str:
        """The end of what they printed."""
        return self._log.read_text(errors="replace")[-400:].strip()

    def processes(self) -> list[int]:
        """All that live."""
        return [pid for pid in proc.marked(self._mark) if proc.alive(pid)]

    def names(self) -> dict[int, str]:
        """What they are called."""
        found = {}
        for pid in self.processes():
            with suppress(OSError):
                found[pid] = name_of(proc.command(pid))
        return found

    def snapshot(self) -> Snapshot:
        """Of now."""
        cpu, kernel, writes = Counter[str](), Counter[str](), Counter[str]()
        for pid, name in self.names().items():
            with suppress(OSError):
                used = proc.cpu(pid)
                cpu[name] += used.seconds  # type: ignore[assignment]
                kernel[name] += used.kernel  # type: ignore[assignment]
                writes[name] += proc.writes(pid)
        return Snapshot(cpu, kernel, writes)

    def memory(self) -> Counter[str]:
        """Bytes that each has for itself."""
        found = Counter[str]()
        for pid, name in self.names().items():
            with suppress(OSError):
                found[name] += proc.own_memory(pid)
        return found

    def sleeps(self) -> Counter[str]:
        """How often each has gone to sleep."""
        found = Counter[str]()
        for pid, name in self.names().items():
            with suppress(OSError):
                found[name] += proc.sleeps(pid)
        return found

    def stop(self) -> None:
        """Leave nothing behind."""
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            for pid in self.processes():
                with suppress(OSError):
                    os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.05)
        for one in self._started:
            one.wait()
        self._home.cleanup()


def name_of(argv: list[str]) -> str:
    """What a process is called in reports: its module or script."""
    if "-m" in argv[:-1]:
        module = argv[argv.index("-m") + 1]
        return NAMES.get(module, module)
    scripts = [Path(word).stem for word in argv[1:2] if word.endswith(".py")]
    return scripts[0] if scripts else Path(argv[0]).name.partition("-")[0] if argv else "?"


NAMES = {"gateway.child": "gateway", "shared.brokers.manager": "broker", "worker.process": "engine"}


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _difference(mine: Counter[str], its: Counter[str]) -> Counter[str]:
    return Counter({name: mine[name] - its[name] for name in mine})
