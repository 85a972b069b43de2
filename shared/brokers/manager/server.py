"""The process that holds the queue. BaseManager gives one thread to each connection; they meet at one lock."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.managers import Server
from typing import Any, TypeVar

import structlog

from shared import garbage
from shared.brokers.manager import calls
from shared.brokers.manager.home import Home
from shared.brokers.state import BrokerState, Limits
from shared.clock import SystemClock

T = TypeVar("T")
DRAIN_WAIT = 2.0  # seconds that a drain waits at most
DESERTED = 60.0  # seconds after which an embedded broker ends when all its peers have vanished
NEVER_NEEDED = 15.0  # the same, when none has ever come
log = structlog.get_logger("broker")


class Service:
    """What peers may call. Arguments and results are bytes, so that pickle carries nothing but bytes and names."""

    exposed = ("call", "drain", "poll", "goodbye")

    def __init__(self, limits: Limits) -> None:
        self.state = BrokerState(SystemClock(), limits)
        self.limits = limits
        self.partings: set[str] = set()
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Condition] = {}

    def call(self, data: bytes) -> bytes:
        """A batch of calls, performed as one step."""
        batch = calls.decode_calls(data)
        with self._lock:
            answers = calls.perform(self.state, batch)
            self._nudge()
        return calls.encode(answers)

    def drain(self, gateway: str, link: int) -> bytes:
        """Wait for the next batch."""
        with self._lock:
            number = self.state.drain(gateway, link)
            batch = self._wait(gateway, lambda last: self.state.batch(gateway, number, final=last), DRAIN_WAIT)
        return calls.encode(batch)

    def poll(self, data: bytes) -> bytes:
        """Wait for leases, cancels and losses."""
        worker, seen, held, free_slots, alone = calls.decode_poll(data)
        with self._lock:
            number = self.state.poll(worker, seen, held, free_slots, alone)
            self._nudge()
            wait = self.limits.lease / 3
            polled = self._wait(worker, lambda last: self.state.polled(worker, number, final=last), wait)
        return calls.encode(polled)

    def goodbye(self, connection: str) -> None:
        """This connection is about to end on purpose."""
        self.partings.add(connection)

    def tick(self) -> float:
        """Let time pass; returns the seconds until the next tick."""
        with self._lock:
            self.state.tick()
            self._nudge()
            return self.limits.tick if self.state.active else self.limits.idle_tick

    def _wait(self, name: str, collect: Callable[[bool], T | None], seconds: float) -> T:
        deadline = time.monotonic() + seconds
        condition = self._waiting[name] = threading.Condition(self._lock)
        try:
            while (result := collect(time.monotonic() >= deadline)) is None:
                condition.wait(max(0.0, deadline - time.monotonic()))
        finally:
            if self._waiting.get(name) is condition:  # else a newer call of the same peer has taken its place
                del self._waiting[name]
        return result

    def _nudge(self) -> None:
        for name in self.state.take_wake():
            condition = self._waiting.get(name)
            if condition is not None:
                condition.notify_all()


class PeerServer(Server):
    """Counts connections, so that an embedded broker knows when it is no longer needed."""

    def __init__(self, service: Service, home: Home, dismiss: Callable[[], None]) -> None:
        registry: Any = {"service": (lambda: service, Service.exposed, None, None)}
        super().__init__(registry, str(home.socket_path), home.key(), "pickle")
        self._service = service
        self._dismiss = dismiss  # called when the last connection has ended with a goodbye
        self._connected: set[str] = set()
        self.end_at: float | None = time.monotonic() + NEVER_NEEDED  # while nobody is connected

    def serve_client(self, conn: "Connection[Any, Any]") -> None:
        """For the life of one connection; the thread carries its name."""
        name = threading.current_thread().name
        self._connected.add(name)
        self.end_at = None
        try:
            super().serve_client(conn)
        finally:
            self._connected.discard(name)
            parted = name in self._service.partings
            self._service.partings.discard(name)
            if not self._connected:
                self.end_at = time.monotonic() + DESERTED
                if parted:
                    self._dismiss()


def serve(home: Home, limits: Limits, *, embedded: bool) -> int:
    """Hold the lock, serve until told to stop (embedded: or no longer needed), leave no socket behind.

    Returns 1 where the home is served already; otherwise it ends the process.
    """
    lock = home.lock()
    if lock is None:
        return 1
    home.socket_path.unlink(missing_ok=True)  # left by a server that was killed; only the holder of the lock may
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    service = Service(limits)
    server = PeerServer(service, home, stop.set if embedded else lambda: None)
    threading.Thread(target=server.serve_forever, daemon=True, name="manager").start()
    garbage.settle()
    log.info("the broker is ready", epoch=service.state.epoch)
    while not stop.wait(service.tick()):
        if embedded and server.end_at is not None and time.monotonic() > server.end_at:
            break
    home.tidy()
    log.info("the broker has stopped")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that wait in a poll have nothing left to save
