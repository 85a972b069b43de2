"""The manager's wire format, spoken by the event loop itself: no thread and no proxy.

A message is a 4-byte length and a pickle (multiprocessing/connection.py). A request is (ident, method, args, kwargs);
its answer is ('#RETURN', result), or a pair whose first part names another kind (multiprocessing/managers.py,
Server.serve_client). Answers come in the order of the requests.
"""

import asyncio
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, cast

import structlog

from shared.brokers.manager.home import Home

HANDSHAKE_SECONDS = 2
log = structlog.get_logger("broker link")
_LENGTH = struct.Struct("!i")
Answered = Callable[[bytes], None]


class Wire(asyncio.Protocol):
    """One authenticated connection. `on_lost` is called once, when it has ended, whoever ended it."""

    def __init__(self, ident: str, on_lost: Callable[["Wire"], None]) -> None:
        self._ident = ident
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: deque[Answered] = deque()

    @property
    def open(self) -> bool:
        """Whether it has not ended yet."""
        return self._transport is not None

    def request(self, method: str, args: tuple[Any, ...], answered: Answered) -> None:
        """Send; `answered` gets the result. On a wire that has ended nothing happens."""
        if self._transport is None or self._transport.is_closing():
            return
        self._waiting.append(answered)
        data = pickle.dumps((self._ident, method, args, {}), pickle.HIGHEST_PROTOCOL)
        self._transport.write(_LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        """End the connection once what was sent is on its way."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._waiting.clear()
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        received = self._received
        received += data
        while len(received) >= 4:
            end = 4 + _LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            message = bytes(memoryview(received)[4:end])
            del received[:end]
            self._answer(message)

    def _answer(self, message: bytes) -> None:
        kind, result = pickle.loads(message)  # only holders of the key speak here
        if kind == "#RETURN":
            self._waiting.popleft()(result)
        else:
            log.error("the broker cannot answer; is it of another version?", answer=f"{kind} {result}"[:1000])
            self.close()


def authenticate(home: Home, name: str) -> tuple[str, int]:
    """Open one connection and hand it to a thread of the manager that carries `name`. Blocks, though not for ever:
    for an executor.

    Returns the service's ident and the descriptor. Raises OSError, EOFError, multiprocessing.AuthenticationError.
    """
    key = home.key_path.read_bytes()
    with _connect(home, key) as conn:
        conn.send((None, "create", ("service",), {}))
        ident = _result(conn.recv())[0]
    with _connect(home, key) as conn:
        conn.send((None, "accept_connection", (name,), {}))
        _result(conn.recv())
        return ident, os.dup(conn.fileno())


def _connect(home: Home, key: bytes) -> "Connection[Any, Any]":
    """What multiprocessing.connection.Client does, with a time limit: a broker that is stopped must not hold a
    thread."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", HANDSHAKE_SECONDS, 0))
        sock.connect(str(home.socket_path))
    except BaseException:
        sock.close()
        raise
    conn: Connection[Any, Any] = Connection(sock.detach())
    try:
        answer_challenge(conn, key)
        deliver_challenge(conn, key)
    except BaseException:
        conn.close()
        raise
    return conn


def _result(answer: tuple[str, Any]) -> Any:
    kind, result = answer
    if kind != "#RETURN":
        raise OSError(f"the broker answered {kind}")
    return result


async def open_wire(home: Home, name: str, on_lost: Callable[[Wire], None]) -> Wire:
    """As `authenticate`, without blocking."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1)  # of its own, so that no thread stays behind
    authenticated = executor.submit(authenticate, home, name)
    executor.shutdown(wait=False)
    try:
        ident, descriptor = await asyncio.wrap_future(authenticated)
    except asyncio.CancelledError:
        authenticated.add_done_callback(_discard)
        raise
    _, wire = await loop.create_unix_connection(lambda: Wire(ident, on_lost), sock=socket.socket(fileno=descriptor))
    return wire


def _discard(authenticated: "Future[tuple[str, int]]") -> None:
    """Nobody waits for the connection any more."""
    if not authenticated.cancelled() and authenticated.exception() is None:
        os.close(authenticated.result()[1])
