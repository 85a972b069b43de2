"""Where the nodes of a run stand, and how they reach the broker from there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from tests.chaos.hosts import Network

LOOPBACK = "127.0.0.1"
PORT = 6379  # of the broker, or of the relay to it, where it has a host of its own


class Ground(NamedTuple):
    """On hosts of their own by their names, or (without a network) all on this machine."""

    network: Network | None = None

    def under(self, name: str) -> AbstractContextManager[None]:
        """What is started in this block stands where the node of this name does."""
        return nullcontext() if self.network is None else self.network.host(name).entered()

    def address(self, name: str) -> str:
        """Where others reach it."""
        return LOOPBACK if self.network is None else self.network.host(name).address


class Relay(NamedTuple):
    """A process that carries connections from one address to another, on the host of a node."""

    host: str
    source: str
    target: str


def relays(ground: Ground, directory: Path, nodes: Sequence[str]) -> list[Relay]:
    """What brings the embedded broker in this directory, whose key is there by now, to the hosts of these nodes. Its
    Unix socket does not care for networks, so it goes over TCP."""
    over = f"tcp:{ground.address('broker')}:{PORT}"
    for node in nodes:
        far = far_directory(directory, node)
        far.mkdir(mode=0o700)
        (far / "key").write_bytes((directory / "key").read_bytes())
    found = [Relay(node, f"unix:{far_directory(directory, node)}/broker.sock", over) for node in nodes]
    return [Relay("broker", over, f"unix:{directory}/broker.sock"), *found]


def far_directory(directory: Path, node: str) -> Path:
    """The broker's directory as the host of a node knows it."""
    return directory.with_name(f"at-{node}")
