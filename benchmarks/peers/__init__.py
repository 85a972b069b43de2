"""What the service is compared with, in the same runs: each small, and each asked for the same chunks."""

import sys
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.places import HERE, go_binary, python_with

Commands = list[list[str]]


class Peer(NamedTuple):
    """`prepare` builds or installs what it needs (raises places.Unavailable) and gives the commands that start it on a
    port, with so many seconds between two chunks."""

    name: str
    words: str
    prepare: Callable[[], Callable[[int, float], Commands]]
    dialect: str = "plain"
    path: str = "/ws"
    settings: tuple[tuple[str, str], ...] = ()  # environment


def service(processes: int = 1) -> Callable[[], Callable[[int, float], Commands]]:
    """This project, with so many gateway processes and everything else by default."""
    many = ["--processes", str(processes)] if processes > 1 else []

    def start(port: int, interval: float) -> Commands:
        quiet = ["--log-level", "warning"]
        return [
            [sys.executable, "-m", "gateway", "--port", str(port), *many, *quiet],
            [sys.executable, "-m", "worker", "--echo-interval", str(interval), *quiet],
        ]

    return lambda: start


def _go(directory: str) -> Callable[[], Callable[[int, float], Commands]]:
    def prepare() -> Callable[[int, float], Commands]:
        binary = go_binary(HERE / "peers" / directory)
        return lambda port, interval: [[binary, "-address", f"127.0.0.1:{port}", "-interval", f"{interval * 1000}ms"]]

    return prepare


def _python(script: str, *requirements: str) -> Callable[[], Callable[[int, float], Commands]]:
    def prepare() -> Callable[[int, float], Commands]:
        python = python_with(script, requirements) if requirements else sys.executable
        return lambda port, interval: [[python, str(HERE / "peers" / f"{script}.py"), str(port), str(interval)]]

    return prepare


OURS = Peer("ours", "gateway, broker and worker with every guarantee, default settings", service())
GO = Peer("go", "the yardstick: gin and gorilla/websocket, goroutines and channels, nothing kept", _go("go"))
PEERS = {
    peer.name: peer
    for peer in (
        OURS,
        GO,
        OURS._replace(
            name="ours-stock",
            words="the same with uvicorn's WebSocket class",
            settings=(("LLM_CHAT_GATEWAY_WS", "stock"),),
        ),
        Peer("naive", "Starlette and a multiprocessing.Manager queue per session", _python("naive")),
        Peer(
            "socketio",
            "python-socketio on uvicorn, one process, nothing kept",
            _python("socketio_peer", "python-socketio>=5.13,<6", "uvicorn[standard]>=0.52,<1"),
            dialect="socketio",
            path="/socket.io/?EIO=4&transport=websocket",
        ),
        Peer(
            "channels",
            "Django Channels on Daphne, one process, layer in memory, nothing kept",
            _python("channels_peer", "django>=5.2,<7", "channels>=4.3,<5", "daphne>=4.2,<5"),
        ),
        Peer(
            "centrifuge",
            "Centrifuge, the library of Centrifugo, one process, history in memory",
            _go("centrifuge"),
            dialect="centrifuge",
        ),
    )
}
