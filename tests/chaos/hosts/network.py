"""The hosts, the switch between them, and what is wrong with the ways from one to another."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from tests.chaos.hosts import namespace

ROOT = Path(__file__).parents[3]
PREFIX = "198.18.77"  # of a range that is meant for tests of networks (RFC 2544); only these namespaces know it


class Traffic(NamedTuple):
    """Packets that went one way, and how many of them were lost."""

    sent: int
    lost: int


class Host:
    """A machine of its own, as far as the network goes."""

    def __init__(self, name: str, address: str, descriptor: int) -> None:
        self.name = name
        self.address = address
        self._namespace = descriptor

    def entered(self) -> AbstractContextManager[None]:
        """What the calling thread starts or opens in this block belongs to this host, also behind the block."""
        return namespace.entered(self._namespace)


def why_not() -> str:
    """What keeps this machine from having hosts; empty where nothing does."""
    if sys.platform != "linux":
        return "hosts are network namespaces, which only Linux has"
    try:
        descriptor = namespace.make()
    except OSError as error:
        return f"network namespaces cannot be made ({error.strerror}): run it as root"
    try:
        os.close(namespace.tun(descriptor, f"{PREFIX}.1"))
    except OSError as error:
        return f"there can be no TUN device ({error.strerror}): /dev/net/tun is needed"
    finally:
        os.close(descriptor)
    return ""


class Network:
    """Hosts by name. A context manager: with it the switch starts, and all is gone behind it but processes that are
    still running in the hosts."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._hosts: dict[str, Host] = {}
        self._switch: subprocess.Popen[str] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Network":
        """Raises OSError where it is not allowed."""
        with ExitStack() as stack:
            ends = {}
            for number, name in enumerate(self._names, 1):
                descriptor = namespace.make()
                stack.callback(os.close, descriptor)
                self._hosts[name] = host = Host(name, f"{PREFIX}.{number}", descriptor)
                ends[host.address] = namespace.tun(descriptor, host.address)
                stack.callback(os.close, ends[host.address])
            stack.enter_context(self._switching(ends))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def host(self, name: str) -> Host:
        """One of them."""
        return self._hosts[name]

    def set(self, source: str, destination: str, *, lost: float = 0.0, delay: float = 0.0) -> Traffic:
        """From now on this share of the packets that the one sends to the other is lost, and the others take so many
        seconds. Returns what has gone that way so far."""
        switch = self._switch
        assert switch is not None
        assert switch.stdin is not None
        assert switch.stdout is not None
        switch.stdin.write(f"{self.host(source).address} {self.host(destination).address} {lost} {delay}\n")
        switch.stdin.flush()
        count, dropped = switch.stdout.readline().split()
        return Traffic(int(count), int(dropped))

    def cut(self, one: str, other: str) -> None:
        """Nothing gets through between these two, and nobody is told."""
        self.set(one, other, lost=1.0)
        self.set(other, one, lost=1.0)

    def slow(self, one: str, other: str, seconds: float) -> None:
        """So long for each way between these two."""
        self.set(one, other, delay=seconds)
        self.set(other, one, delay=seconds)

    def mend(self) -> None:
        """Nothing is wrong with any way."""
        for source, destination in permutations(self._names, 2):
            self.set(source, destination)

    @contextmanager
    def _switching(self, ends: dict[str, int]) -> Iterator[None]:
        argv = [sys.executable, "-m", "tests.chaos.hosts.switch", *(f"{at}={end}" for at, end in ends.items())]
        self._switch = subprocess.Popen(
            argv,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=list(ends.values()),
        )
        with self._switch:
            try:
                yield
            finally:
                assert self._switch.stdin is not None
                self._switch.stdin.close()  # which ends it
