"""The network does to packets what it is told, and the hosts are apart."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.chaos.hosts import Network, why_not
from tests.conftest import require

DELAY = 0.06  # seconds
DATAGRAMS = 200


@pytest.fixture
def network() -> Iterator[Network]:
    """Three hosts."""
    require(not (why := why_not()), why)
    with Network(["left", "right", "third"]) as network:
        yield network


@pytest.fixture
def ends(network: Network) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection: the end in `left`, the end in `right`."""
    with network.host("left").entered():
        server = socket.create_server((network.host("left").address, 0))
    with server, network.host("right").entered(), socket.create_connection(server.getsockname()[:2], 5) as right:
        left, _ = server.accept()
        with left:
            for end in (left, right):
                end.settimeout(5)
            yield left, right


def silent(end: socket.socket, seconds: float) -> bool:
    """Whether nothing arrives, not even an end."""
    end.settimeout(seconds)
    try:
        end.recv(100)
    except TimeoutError:
        return True
    finally:
        end.settimeout(5)
    return False


def round_trip(ends: tuple[socket.socket, socket.socket]) -> float:
    left, right = ends
    began = time.monotonic()
    right.sendall(b"there")
    assert left.recv(100) == b"there"
    left.sendall(b"back")
    assert right.recv(100) == b"back"
    return time.monotonic() - began


def test_a_delay_is_felt_on_each_way_and_ends(network: Network, ends: tuple[socket.socket, socket.socket]) -> None:
    network.slow("left", "right", DELAY)
    assert round_trip(ends) >= 2 * DELAY
    network.set("left", "right")
    assert round_trip(ends) >= DELAY
    network.mend()
    assert min(round_trip(ends) for _ in range(20)) < DELAY


def test_a_cut_loses_nothing_of_a_connection_and_tells_nobody(
    network: Network, ends: tuple[socket.socket, socket.socket]
) -> None:
    left, right = ends
    network.cut("left", "right")
    left.sendall(b"one")
    right.sendall(b"two")
    assert silent(left, 0.3)
    assert silent(right, 0.3)
    network.mend()
    assert left.recv(100) == b"two"  # the kernels have tried again
    assert right.recv(100) == b"one"


def test_loss_in_one_direction_spares_the_other(network: Network) -> None:
    with network.host("left").entered():
        left = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        left.bind((network.host("left").address, 0))
    with network.host("right").entered():
        right = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        right.bind((network.host("right").address, 0))
    with left, right:
        network.set("left", "right", lost=1.0)
        for source, target in ((left, right), (right, left)):
            source.sendto(b"hello", target.getsockname())
        left.settimeout(5)
        assert left.recv(100) == b"hello"
        assert silent(right, 0.1)
        there, back = network.set("left", "right"), network.set("right", "left")
        assert (there.sent, there.lost) == (1, 1)
        assert (back.sent, back.lost) == (1, 0)


def test_a_share_of_the_packets_is_lost(network: Network) -> None:
    network.set("left", "right", lost=0.3)
    with network.host("left").entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as left:
        for _ in range(DATAGRAMS):
            left.sendto(b"hello", (network.host("right").address, 9))
    until = time.monotonic() + 5
    while (traffic := network.set("left", "right", lost=0.3)).sent < DATAGRAMS:
        assert time.monotonic() < until
    assert 0.15 < traffic.lost / traffic.sent < 0.45  # six standard deviations to either side


def test_only_the_ways_that_are_meant_are_cut(network: Network, ends: tuple[socket.socket, socket.socket]) -> None:
    network.cut("left", "third")
    round_trip(ends)


def test_a_process_belongs_to_the_host_in_which_it_was_started(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        code = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {port})), dict(socket.if_nameindex()))"
        with network.host("third").entered():
            inside = subprocess.check_output([sys.executable, "-c", code], text=True)
        socket.create_connection(("127.0.0.1", port)).close()
    assert inside.startswith("111 ")  # refused: the loopback of a host is its own
    assert "net0" in inside


def test_whoever_has_been_in_a_host_is_back_behind_it(network: Network) -> None:
    def here() -> tuple[int, int]:
        found = os.stat("/proc/thread-self/ns/net")
        return found.st_dev, found.st_ino

    before = here()
    with network.host("left").entered():
        assert here() != before
    assert here() == before
    with pytest.raises(OSError, match="refused"), network.host("left").entered():
        socket.create_connection(("127.0.0.1", 9))
    assert here() == before
