"""Mutations of the Redis broker's scripts. See mutations.py."""

from collections.abc import Callable
from typing import Any

Struck = Callable[[], None]
DROPPED = "call('DEL', r.key)\n"


def forgotten_reply(module: Any, struck: Struck) -> None:
    """The key of a reply whose retention is over is left to itself, and has no time of its own to go."""
    assembled = module._assembled

    def forgetful(name: str) -> str:
        source: str = assembled(name)
        if DROPPED in source:
            struck()
        return source.replace(DROPPED, "call('PERSIST', r.key)\n")

    module._assembled = forgetful


MUTATIONS: dict[str, tuple[str, Callable[[Any, Struck], None]]] = {
    "forgotten_reply": ("shared.brokers.redis.scripts", forgotten_reply),
}
