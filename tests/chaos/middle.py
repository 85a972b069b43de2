"""What stands between gateways and workers in a run: the broker's process, and its address as each node knows it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from tests.chaos.hosts import Network
from tests.chaos.redis_process import READY
from tests.processes.service import free_port

LOOPBACK = "127.0.0.1"
PORT = 6379  # of the broker, and of the relay to it, where it has a host of its own


class Ground(NamedTuple):
    """Where nodes stand: on hosts of their own by their names, or (without a network) all on this machine."""

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


class Middle:
    """The embedded broker. Its Unix socket does not care for networks, so between hosts relays carry it over TCP."""

    module = "shared.brokers.manager"
    ready = "the broker is ready"
    has_heirs = True  # gateways start the next one themselves

    def __init__(self, ground: Ground, directory: Path) -> None:
        self._ground = ground
        self._directory = directory

    def settings(self) -> Mapping[str, str]:
        """Of the broker's process."""
        return {}

    def url(self) -> str:
        """As its own host knows it."""
        return f"manager://{self._directory}"

    def url_at(self, node: str) -> str:
        """As the host of a node knows it."""
        return self.url() if self._ground.network is None else f"manager://{self._far(node)}"

    def relays(self, nodes: list[str]) -> list[Relay]:
        """Those that have to run before the nodes do. The key is there by then."""
        if self._ground.network is None:
            return []
        far = f"tcp:{self._ground.address('broker')}:{PORT}"
        for node in nodes:
            self._far(node).mkdir(mode=0o700)
            (self._far(node) / "key").write_bytes((self._directory / "key").read_bytes())
        relays = [Relay(node, f"unix:{self._far(node)}/broker.sock", far) for node in nodes]
        return [Relay("broker", far, f"unix:{self._directory}/broker.sock"), *relays]

    def _far(self, node: str) -> Path:
        return self._directory.with_name(f"at-{node}")


class RedisMiddle(Middle):
    """Redis, which is at home on networks."""

    module = "tests.chaos.redis_process"
    ready = READY
    has_heirs = False

    def __init__(self, ground: Ground, directory: Path) -> None:
        super().__init__(ground, directory)
        port = free_port() if ground.network is None else PORT
        self._address = f"{ground.address('broker')}:{port}"

    def settings(self) -> Mapping[str, str]:
        """See Middle."""
        return {"CHAOS_REDIS_ADDRESS": self._address, "CHAOS_REDIS_DIRECTORY": str(self._directory / "redis")}

    def url(self) -> str:
        """See Middle."""
        return f"redis://{self._address}/0"

    def url_at(self, node: str) -> str:
        """See Middle."""
        return self.url()

    def relays(self, nodes: list[str]) -> list[Relay]:
        """See Middle."""
        return []


MIDDLES: dict[str, type[Middle]] = {"manager": Middle, "redis": RedisMiddle}
