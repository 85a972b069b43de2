"""Engines by name: our own, and those that installed packages offer as entry points of the group `llm_chat.engines`.

An entry point names a function `open_engine(settings: Settings) -> Engine`. It is called within a running event loop;
a setting that it cannot work with is a ValueError with a sentence for the operator.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from shared.settings import Settings
from worker.engines.base import Engine

GROUP = "llm_chat.engines"
OWN = ("echo", "openai")


def open_engine(settings: Settings) -> Engine:
    """The engine that `settings.engine` names. Raises ValueError, with a sentence, where there is none."""
    name = settings.engine
    check(name)
    opener: Callable[[Settings], Engine]
    opener = import_module(f"worker.engines.{name}").open_engine if name in OWN else _installed()[name].load()
    return opener(settings)


def check(name: str) -> None:
    """Raises ValueError, with a sentence, where there is no such engine. Imports none."""
    if name not in OWN and name not in _installed():
        known = ", ".join(sorted({*OWN, *_installed()}))
        raise ValueError(f"no engine is called {name!r}: LLM_CHAT_ENGINE may be one of {known}")


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
