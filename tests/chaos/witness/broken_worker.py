"""Mutations of the worker and its echo engine. See mutations.py."""

from collections.abc import Callable
from typing import Any

Struck = Callable[[], None]


def skipped_piece(module: Any, struck: Struck) -> None:
    """The third piece is never made: everything downstream agrees about a wrong text."""
    stream = module.Stream
    step = stream.step

    def skip(self: Any) -> bool:
        if self.live and self._next == 2:
            struck()
            self._next += 1
        going: bool = step(self)
        return going

    stream.step = skip


def runs_on(module: Any, struck: Struck) -> None:
    """An abort does not stop the engine."""

    def abort(self: Any) -> None:
        struck()

    module.Stream.abort = abort


ECHO = "worker.engines.echo"
MUTATIONS: dict[str, tuple[str, Callable[[Any, Struck], None]]] = {
    "skipped_piece": (ECHO, skipped_piece),
    "runs_on": (ECHO, runs_on),
}
