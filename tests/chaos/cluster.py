"""The real processes of one run: gateways, workers and the broker; how each is killed, stopped and started again."""

import asyncio
import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.ground import Ground, far_directory, relays
from tests.chaos.houses import HOUSES
from tests.chaos.records import Journal
from tests.processes.service import ROOT, START_SECONDS, Process, free_port

INJECT = ROOT / "tests" / "chaos" / "inject"
STOP_SECONDS = 6.0
LOOK = 0.02  # seconds between two looks at what real processes bring about


class NotStarted(Exception):
    """A process did not come up, or did not end; the message says which."""


class Node:
    """One gateway, worker or broker under its name, over all the lives of its process."""

    def __init__(self, role: str, name: str, module: str, settings: Mapping[str, str], cluster: "Cluster") -> None:
        self.role = role
        self.name = name
        self.settings = dict(settings)
        self._module = module
        self._cluster = cluster
        self.process: Process | None = None
        self.busy = asyncio.Lock()  # held by whoever stops or starts it

    @property
    def pid(self) -> int:
        """Of the present life; 0 where there is none."""
        return self.process.pid if self.process is not None else 0

    def launch(self) -> None:
        """Start the process; does not wait."""
        environment = {**self._cluster.environment, **self.settings}
        with self._cluster.ground.under(self.name):
            self.process = Process(self._module, environment, self._cluster.directory / f"{self.name}.log")
        self._cluster.tell(self, "started")

    def family(self) -> list[psutil.Process]:
        """The process and its children of the same tier."""
        try:
            return [psutil.Process(self.pid), *(self.process.children() if self.process else [])]
        except psutil.Error:
            return []

    def engines(self) -> list[psutil.Process]:
        """The engine processes of a worker."""
        return self.family()[1:]

    def signal_all(self, number: signal.Signals, state: str) -> list[int]:
        """Send it to the whole family; returns whom it reached. Raises PermissionError."""
        family = self.family()
        for one in family:
            try:
                one.send_signal(number)
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied as error:
                raise PermissionError(str(error)) from None
        self._cluster.tell(self, state)
        return [one.pid for one in family]

    async def ended(self, seconds: float = STOP_SECONDS) -> None:
        """Wait for the end of the process. Raises NotStarted."""
        process = self.process
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, seconds)
            except subprocess.TimeoutExpired:
                raise NotStarted(f"{self.name} did not end within {seconds} s") from None
            self._cluster.tell(self, "gone")

    async def restart(self, offset_ms: int | None = None) -> None:
        """Start the next life, with its wall clock set off where that is asked for, and wait until it serves."""
        if offset_ms is not None:
            self.settings["CHAOS_WALL_OFFSET_MS"] = str(offset_ms)
        self.launch()
        await self._cluster.serves(self)

    def told(self) -> str:
        """All that the process printed."""
        path = self._cluster.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


class Cluster:
    """All nodes. `records` is where they and the witnesses in them write; `directory` holds logs and the broker;
    `ground` is where they stand."""

    def __init__(
        self,
        directory: Path,
        records: Path,
        journal: Journal,
        settings: Mapping[str, str],
        broker: str = "manager",
        ground: Ground = Ground(),  # noqa: B008  # it is immutable
    ) -> None:
        self.directory = directory
        self.records = records
        self.journal = journal
        self.broker_directory = directory / "broker"
        self.ground = ground
        self.house = HOUSES[broker](self.broker_directory, ground)
        self.environment = {
            "LLM_CHAT_BROKER_URL": self.house.url,
            "LLM_CHAT_AUTH_KEYS": str(self.broker_directory / "keys.json"),
            "LLM_CHAT_DATABASE_URL": f"sqlite+aiosqlite:///{directory.absolute()}/chat.db",
            "LLM_CHAT_LOG_FORMAT": "json",
            "CHAOS_DIRECTORY": str(records),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(INJECT), str(ROOT), os.environ.get("PYTHONPATH")])),
            **settings,
        }
        self.broker = Node("broker", "broker", self.house.module, self.house.settings, self)
        self._relays: list[Process] = []
        self.gateways: list[Node] = []
        self.workers: list[Node] = []
        self.ports: dict[str, int] = {}
        self._engines: dict[int, str] = {}  # the living ones and their workers, at the last look
        self._known: dict[int, str] = {}  # all that there ever were
        self._looking = threading.Lock()

    async def start(self, gateways: int, workers: int, worker_settings: Mapping[str, str] | None = None) -> None:
        """All of them, the broker by hand so that it outlives the gateways. Raises NotStarted."""
        self._launch_broker()
        await self.until(lambda: self.house.ready in self.broker.told(), "the broker")
        for number in range(gateways):
            node = Node("gateway", f"gateway-{number}", "gateway", {"LLM_CHAT_PORT": str(free_port())}, self)
            self.ports[node.name] = int(node.settings["LLM_CHAT_PORT"])
            self.gateways.append(node)
        for number in range(workers):
            self.workers.append(Node("worker", f"worker-{number}", "worker", worker_settings or {}, self))
        if self.ground.network is not None:
            await self._settle_on_hosts()
        for node in [*self.gateways, *self.workers]:
            node.launch()
        for node in [*self.gateways, *self.workers]:
            await self.serves(node)
        await self.until_async(self._ready, "readiness")

    def _launch_broker(self) -> None:
        """Its memory, where it cannot record that itself, begins when nobody can have spoken to it yet."""
        if self.house.revives:
            memories = Journal(self.records, "broker-by-hand")
            memories.write("memory", epoch="unknown")
            memories.close()
        self.broker.launch()

    async def next_broker(self, killed: int) -> int:
        """Whoever is to start the next one does. Returns its process id. Raises NotStarted."""
        if self.house.revives:
            await self.broker.ended()
            self._launch_broker()
        await self.until(lambda: self.broker_pid() not in (0, killed), "the next broker")
        return self.broker_pid()

    async def _settle_on_hosts(self) -> None:
        """Each node has an address of its own and a way to the broker; nobody but the broker's host may start one."""
        nodes = [*self.gateways, *self.workers]
        for node in nodes:
            if self.house.local:
                node.settings["LLM_CHAT_BROKER_URL"] = f"manager://{far_directory(self.broker_directory, node.name)}"
            node.settings["LLM_CHAT_BROKER_EMBEDDED"] = "false"
        for gateway in self.gateways:
            gateway.settings["LLM_CHAT_HOST"] = self.ground.address(gateway.name)
            gateway.settings["LLM_CHAT_AUTH_MODE"] = "none"
        names = [node.name for node in nodes]
        for relay in relays(self.ground, self.broker_directory, names) if self.house.local else ():
            log = self.directory / f"relay-{relay.host}.log"
            with self.ground.under(relay.host):
                self._relays.append(Process("tests.chaos.hosts.relay", {}, log, relay.source, relay.target))
        await self.until(lambda: all("is ready" in relay.text() for relay in self._relays), "the relays")

    async def serves(self, node: Node) -> None:
        """Wait until it does its work: a gateway answers, a worker has an engine process."""
        if node.role == "gateway":
            await self.until_async(lambda: self._answers(node, "/livez"), node.name)
        elif node.role == "worker":
            await self.until(lambda: bool(node.engines()), node.name)
        self.look()

    async def stats(self) -> dict[str, Any] | None:
        """What the broker says of itself, by way of a gateway; None where nobody answers."""
        for node in self.gateways:
            _, body = await self._get(node, "/readyz?verbose")
            if body and body.get("broker"):
                found: dict[str, Any] = body["broker"]
                return found
        return None

    def broker_pid(self) -> int:
        """Of whichever process is the broker now: the one that was started by hand, or its embedded heir. 0: none."""
        if _lives(self.broker.pid):
            return self.broker.pid
        url = self.environment["LLM_CHAT_BROKER_URL"]
        for process in psutil.process_iter():
            try:
                ours = "shared.brokers.manager" in process.cmdline() and process.environ()["LLM_CHAT_BROKER_URL"] == url
                if ours and _lives(process.pid):
                    return process.pid
            except (psutil.Error, KeyError):
                continue
        return 0

    def worker_of(self, pid: int) -> str:
        """The name of the worker that an engine process belongs to, or belonged to; empty where nobody knows it."""
        return self._known.get(pid, "")

    def look(self) -> None:
        """Record which engine processes have come and gone since the last look. May be called in any thread."""
        with self._looking:
            living = {engine.pid: worker.name for worker in self.workers for engine in worker.engines()}
            for pid in living.keys() - self._engines.keys():
                self.journal.write("process", role="engine", name=living[pid], pid=pid, state="started")
            for pid in self._engines.keys() - living.keys():
                self.journal.write("process", role="engine", name=self._engines[pid], pid=pid, state="gone")
            self._engines = living
            self._known |= living

    def tell(self, node: Node, state: str) -> None:
        """Record what became of a node."""
        self.journal.write("process", role=node.role, name=node.name, pid=node.pid, state=state)

    def measure(self) -> list[dict[str, Any]]:
        """Descriptors, threads and resident bytes of every process."""
        pids = [("broker", "broker", self.broker_pid())]
        pids += [("gateway", node.name, node.pid) for node in self.gateways]
        for node in self.workers:
            pids.append(("worker", node.name, node.pid))
            pids += [("engine", node.name, engine.pid) for engine in node.engines()]
        return [measured for role, name, pid in pids if (measured := _measure(role, name, pid))]

    def end(self) -> None:
        """Leave nothing running, whatever it takes."""
        for node in [*self.workers, *self.gateways, self.broker]:
            if node.process is not None:
                for one in node.family():
                    _continue(one)
                node.process.end()
        for relay in self._relays:
            relay.end()
        heir = self.broker_pid()
        if heir:
            process = psutil.Process(heir)
            _continue(process)
            process.kill()
            process.wait(STOP_SECONDS)

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> None:
        """Wait for something that processes bring about. Raises NotStarted."""

        async def ask() -> bool:
            return bool(condition())

        await self.until_async(ask, what, seconds)

    async def until_async(self, condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> None:
        """The same, where looking has to be awaited."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await condition():
            if asyncio.get_running_loop().time() > deadline:
                raise NotStarted(f"{what} did not come about within {seconds:.0f} s")
            await asyncio.sleep(LOOK)

    async def _answers(self, node: Node, path: str) -> bool:
        status, _ = await self._get(node, path)
        return status == 200

    async def _get(self, node: Node, path: str) -> tuple[int, Any]:
        where = f"http://{self.ground.address(node.name)}:{self.ports[node.name]}{path}"
        return await asyncio.to_thread(_get, where)

    async def _ready(self) -> bool:
        return all([await self._answers(node, "/readyz") for node in self.gateways])


def _get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")
    except (OSError, ValueError):
        return 0, None


def _lives(pid: int) -> bool:
    try:
        return pid > 0 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _continue(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGCONT)
    except psutil.Error:
        return


def _measure(role: str, name: str, pid: int) -> dict[str, Any] | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            fds, threads, rss = process.num_fds(), process.num_threads(), process.memory_info().rss
    except (psutil.Error, ValueError):
        return None
    return {"role": role, "name": name, "pid": pid, "fds": fds, "threads": threads, "rss": rss}
