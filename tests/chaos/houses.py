"""Where the broker of a run lives, by name: which process it is, how others find it, and who starts the next one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.chaos.ground import PORT, Ground
from tests.processes.service import free_port

HERE = Ground()  # all on this machine


class House(NamedTuple):
    """`module` is started as the broker's process and prints `ready`. `revives`: when it is killed the harness starts
    the next one, whose memory is empty, and records that; else a gateway does, and the next one records it itself.
    `local`: it is reached on its own host only."""

    url: str
    module: str
    ready: str
    settings: Mapping[str, str]
    revives: bool
    local: bool


def manager(directory: Path, ground: Ground = HERE) -> House:
    """The embedded one, started by hand so that it outlives the gateways."""
    return House(f"manager://{directory}", "shared.brokers.manager", "the broker is ready", {}, False, True)


def redis(directory: Path, ground: Ground = HERE) -> House:
    """A Redis server that keeps no file: what it loses when it is killed is all it had."""
    host = ground.address("broker")
    port = str(free_port() if ground.network is None else PORT)
    settings = {"CHAOS_REDIS_HOST": host, "CHAOS_REDIS_PORT": port, "CHAOS_REDIS_DIRECTORY": str(directory)}
    url = f"redis://{host}:{port}/0"
    return House(url, "tests.chaos.redis_node", "Ready to accept connections", settings, True, False)


HOUSES: Mapping[str, Callable[..., House]] = {"manager": manager, "redis": redis}
