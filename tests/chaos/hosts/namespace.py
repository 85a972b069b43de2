"""A network namespace that lives as long as a descriptor of it is open, or a process in it; and its interface."""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000  # sched.h
_OURS = "/proc/thread-self/ns/net"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914  # linux/sockios.h
_IFF_UP = 0x1


def make() -> int:
    """A new namespace in which only the loopback interface is there, and up. Raises OSError where that is not
    allowed."""

    def unshare() -> int:
        _check(_libc.unshare(_CLONE_NEWNET))
        _up("lo")
        return os.open(_OURS, os.O_RDONLY)

    return _in_a_thread(unshare)


def enter(namespace: int) -> None:
    """The calling thread belongs there from now on. Raises OSError."""
    _check(_libc.setns(namespace, _CLONE_NEWNET))


@contextmanager
def entered(namespace: int) -> Iterator[None]:
    """The calling thread belongs there until the block ends, with the processes and sockets that it makes. What is
    made remains there."""
    before = os.open(_OURS, os.O_RDONLY)
    try:
        enter(namespace)
        yield
    finally:
        enter(before)
        os.close(before)


def tun(namespace: int, address: str) -> int:
    """The far end of a new interface of that namespace, which has this address in a /24: what is read here the host
    has sent, what is written here it receives. One packet each. Raises OSError."""

    def make_tun() -> int:
        enter(namespace)
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"net0", _IFF_TUN | _IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, _SIOCSIFADDR, _address("net0", address))
            fcntl.ioctl(sock, _SIOCSIFNETMASK, _address("net0", "255.255.255.0"))
        _up("net0")
        return descriptor

    return _in_a_thread(make_tun)


def _up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(sock, _SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags | _IFF_UP))


def _address(interface: str, address: str) -> bytes:
    return struct.pack("16sHH4s16x", interface.encode(), socket.AF_INET, 0, socket.inet_aton(address))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_a_thread(work: Callable[[], T]) -> T:
    """A thread has a namespace of its own, and this one ends before anybody else notices."""
    done: list[T] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            done.append(work())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
