"""A TCP proxy of ours between clients and one gateway, that can do to a connection what networks do."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Coroutine
from typing import Any, NamedTuple, cast

BACKLOG = 4096
HIGH_WATER = 16_384  # bytes that wait here for a reader, before the writer is held up, too
SEGMENT = 1400  # bytes
RESET = struct.pack("ii", 1, 0)  # SO_LINGER for no time: close sends RST instead of FIN


def _small(sock: socket.socket) -> socket.socket:
    """Segments as on a real network and small buffers, for a new socket. With those of loopback the kernel would take
    megabytes for a reader that does not read, and the gateway would never notice it."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, buffer, HIGH_WATER)
    return sock


class Pipe(asyncio.Protocol):
    """One end of a proxied connection. What comes in here goes out at `other`."""

    def __init__(self, passage: "Passage") -> None:
        self._passage = passage
        self.transport: asyncio.Transport | None = None
        self.other: Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)
        self._passage.opened(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._passage.carry(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._passage.lost(self, reset=isinstance(error, ConnectionResetError))

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send, unless this end is over."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def is_over(self) -> bool:
        """Whether this end is closed, or about to be."""
        return self.transport is not None and self.transport.is_closing()

    def end(self, *, reset: bool) -> None:
        """Close this end, in order or with a reset."""
        if self.transport is None or self.transport.is_closing():
            return
        if reset:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        else:
            self.transport.close()


class Passage:
    """One connection: the client's end, the gateway's end, and what is wrong with the way between them."""

    def __init__(self, door: "Door") -> None:
        self._door = door
        self._early: list[bytes] = []  # from the client, before the gateway's end is there
        self._late: deque[tuple[Pipe, bytes]] = deque()  # what a delay holds back, in order
        self._frozen = False
        self._delay = 0.0
        self.client = Pipe(self)
        self.gateway = Pipe(self)
        self.port = 0  # the client's own, by which the client knows it, too
        self.taken = 0  # bytes that came from the gateway

    def opened(self, end: Pipe) -> None:
        """An end is connected."""
        if end is self.client:
            assert end.transport is not None
            peer = end.transport.get_extra_info("peername")
            self.port = peer[1] if peer else 0  # of a client that has gone already nobody knows it
            self._door.passages.add(self)
            self._door.spawn(self._connect())
            return
        if self.client.is_over():
            self._drop(reset=False)
            return
        self.client.other, self.gateway.other = self.gateway, self.client
        for data in self._early:
            self.carry(self.client, data)
        self._early.clear()

    def carry(self, source: Pipe, data: bytes) -> None:
        """Take bytes that came in at one end to the other."""
        if source is self.gateway:
            self.taken += len(data)
        if self._frozen:
            return
        if source.other is None:
            self._early.append(data)
        elif self._delay or self._late:
            self._late.append((source.other, data))
            asyncio.get_running_loop().call_later(self._delay, self._arrive)
        else:
            source.other.write(data)

    def lost(self, end: Pipe, *, reset: bool) -> None:
        """One end is gone: so is the other, unless the network swallows that news, too."""
        if not self._frozen:
            self._drop(reset=reset)
        elif self.client.is_over() and self.gateway.is_over():
            self._door.passages.discard(self)

    def cut(self) -> None:
        """Both ends see an orderly end of the stream, in the middle of whatever was going on."""
        self._drop(reset=False)

    def reset(self) -> None:
        """Both ends see a reset."""
        self._drop(reset=True)

    def half_open(self) -> None:
        """From now on everything is swallowed, the news of an end included; both ends think they are connected."""
        self._frozen = True

    def delay(self, seconds: float) -> None:
        """Let every byte take that much longer, in order; 0 ends it."""
        self._delay = seconds

    def _arrive(self) -> None:
        target, data = self._late.popleft()
        if not self._frozen:
            target.write(data)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        sock = _small(socket.socket())
        try:
            await loop.sock_connect(sock, self._door.target)
            await loop.create_connection(lambda: self.gateway, sock=sock)
        except OSError:
            sock.close()
            self._drop(reset=True)

    def _drop(self, *, reset: bool) -> None:
        self._door.passages.discard(self)
        for end in (self.client, self.gateway):
            end.end(reset=reset)


class Target(NamedTuple):
    """Where a gateway listens."""

    host: str
    port: int


class Straight:
    """No proxy at all: where clients of a gateway connect if nothing is done to connections."""

    def __init__(self, target: Target) -> None:
        self.url = f"ws://{target.host}:{target.port}/ws"
        self.passages: frozenset[Passage] = frozenset()


class Door:
    """Where clients of one gateway connect: a listening port and the passages through it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.port = 0
        self.passages: set[Passage] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, port: int = 0) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        sock = _small(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        self._server = await loop.create_server(self._passage, sock=sock, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where WebSocket clients go."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Keep a task until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _passage(self) -> Pipe:
        return Passage(self).client

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for passage in list(self.passages):
            passage.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
