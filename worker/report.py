"""What an engine process tells its supervisor, as datagrams over an inherited socket.

A datagram that finds the socket full is dropped: the next report says the same anew.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence

import msgspec

BUFFER = 1 << 20  # bytes; the largest datagram holds the leases of one process


class Fruitful(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """This life has added something to a reply."""

    pid: int


class Holding(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """The leases in force, each with the seconds from now for which it may be renewed on the process's behalf.

    `renewed`: the process is just doing it itself.
    """

    pid: int
    allowed: list[tuple[int, float]]
    renewed: bool


Report = Fruitful | Holding
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Report).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and the one that its children inherit."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (ours, theirs):
        end.setblocking(False)
    with contextlib.suppress(OSError):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return ours, theirs


class Reporter:
    """The child's end."""

    def __init__(self, end: socket.socket, pid: int) -> None:
        self._end = end
        self._pid = pid
        self._fruitful = False

    def appended(self) -> None:
        """Something was stored. Called again and again, told once."""
        if not self._fruitful:
            self._fruitful = self._send(Fruitful(self._pid))

    def holding(self, allowed: Sequence[tuple[int, float]], renewed: bool) -> None:
        """See Holding."""
        self._send(Holding(self._pid, list(allowed), renewed))

    def _send(self, report: Report) -> bool:
        try:
            self._end.send(_encode(report))
        except OSError:
            return False
        return True


class Reports:
    """The supervisor's end: `on_report` is called for each, `read` takes what is there at once."""

    def __init__(self, end: socket.socket, on_report: Callable[[Report], None]) -> None:
        self._end = end
        self._on_report = on_report
        asyncio.get_running_loop().add_reader(end, self.read)

    def read(self) -> None:
        """Take all that has come."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._on_report(_decode(self._end.recv(BUFFER)))

    def close(self) -> None:
        """Hear nothing more."""
        asyncio.get_running_loop().remove_reader(self._end)
        self._end.close()
