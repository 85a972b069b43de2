"""The whole service as users run it: real processes, a broker directory of its own, free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
START_SECONDS = 40.0  # ten interpreters may have to start, on a machine that has other things to do
STOP_SECONDS = 5.0  # what honcho gives


def free_port() -> int:
    """One that nobody listens on, on either loopback address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "the condition") -> Any:
    """Wait for something that real processes bring about; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.02)
    return found


class Process:
    """One that the test started, with what it printed."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def children(self) -> list[psutil.Process]:
        """Those of the same tier: the broker that a gateway started is not one of them."""
        return [child for child in psutil.Process(self.pid).children() if _is_of_the_tier(child)]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM and wait; returns the exit status."""
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not stop within {seconds} s:\n{self.text()}") from None

    def wait(self, seconds: float) -> int:
        """The exit status of a process that ends by itself."""
        return self._popen.wait(seconds)

    def end(self) -> None:
        """Whatever it takes."""
        if self._popen.poll() is None:
            for child in self.children():
                child.kill()
            self._popen.kill()
        self._popen.wait()

    def text(self) -> str:
        """All that it printed."""
        return self.log.read_text(errors="replace")


def _is_of_the_tier(child: psutil.Process) -> bool:
    try:
        return "shared.brokers.manager" not in child.cmdline()
    except psutil.Error:  # it has just ended
        return False


class Service:
    """Gateways and workers that share a broker."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.broker = directory / "broker"
        self.environment = {
            "LLM_CHAT_BROKER_URL": f"manager://{self.broker}",
            "LLM_CHAT_AUTH_KEYS": str(directory / "keys.json"),
            "LLM_CHAT_ECHO_INTERVAL": "0.05",
            "LLM_CHAT_LOG_FORMAT": "json",
            "LLM_CHAT_LOG_LEVEL": "info",
            **settings,
        }
        self.processes: list[Process] = []

    def gateway(self, *arguments: str, port: int | None = None, **settings: str) -> "Gateway":
        """Start one and wait until it answers."""
        port = port or free_port()
        gateway = Gateway(self._start("gateway", {"LLM_CHAT_PORT": str(port), **settings}, *arguments), port)
        until(lambda: gateway.get("/livez")[0] == 200, START_SECONDS, "the gateway")
        return gateway

    def worker(self, *arguments: str, **settings: str) -> Process:
        """Start one."""
        return self._start("worker", settings, *arguments)

    def ready(self, gateway: "Gateway") -> None:
        """Wait until the gateway has its broker and a worker."""
        try:
            until(lambda: gateway.get("/readyz")[0] == 200, START_SECONDS, "readiness")
        except AssertionError:
            logs = "".join(process.text() for process in self.processes)
            raise AssertionError(f"never ready: {gateway.get('/readyz?verbose')}\n{logs}") from None

    def broker_process(self) -> psutil.Process | None:
        """The embedded broker of this service, if it runs."""
        url = self.environment["LLM_CHAT_BROKER_URL"]
        for process in psutil.process_iter():
            try:
                if "shared.brokers.manager" in process.cmdline() and process.environ()["LLM_CHAT_BROKER_URL"] == url:
                    return process if process.status() != psutil.STATUS_ZOMBIE else None
            except (psutil.Error, KeyError):
                continue
        return None

    def end(self) -> None:
        """Leave nothing running."""
        for process in self.processes:
            process.end()
        broker = self.broker_process()
        if broker is not None:
            broker.kill()  # which nobody here can wait for: it is not our child
            until(lambda: self.broker_process() is None, STOP_SECONDS, "the end of the broker")

    def _start(self, module: str, settings: Mapping[str, str], *arguments: str) -> Process:
        log = self.directory / f"{module}-{len(self.processes)}.log"
        process = Process(module, {**self.environment, **settings}, log, *arguments)
        self.processes.append(process)
        return process


class Gateway:
    """A gateway process (or several on one port) and how to reach it."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.ws = f"ws://127.0.0.1:{port}/ws"

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body of an HTTP request; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")
        except OSError:
            return 0, None

    def served_by(self, client_port: int) -> int:
        """The process that holds the other end of a client's connection."""
        family = [self.process.pid, *(child.pid for child in self.process.children())]
        for pid in family:
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.raddr and connection.raddr.port == client_port:
                    return pid
        raise AssertionError(f"no gateway process holds a connection from port {client_port}")


@contextmanager
def running_service(directory: Path, **settings: str) -> Iterator[Service]:
    """A service without processes as yet; all that are started end with the block."""
    service = Service(directory, settings)
    try:
        yield service
    finally:
        service.end()
