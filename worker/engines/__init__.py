"""Engines by name: our own, and those that installed packages offer as entry points of the group `llm_chat.engines`.

An entry point names a function `open_engine(settings: Settings) -> Engine`. It is called within a running event loop;
a setting that it cannot work with is a ValueError with a sentence for the operator.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from shared.settings import Settings
from worker.engines.base import Engine

GROUP = "llm_chat.engines"
OWN = ("echo", "openai")


def open_engine(settings: Settings) -> Engine:
    """The engine that `settings.engine` names. Raises ValueError, with a sentence, where there is none."""
    return _opener(settings.engine)(settings)


def _opener(name: str) -> Callable[[Settings], Engine]:
    if name in OWN:
        opener: Callable[[Settings], Engine] = import_module(f"worker.engines.{name}").open_engine
        return opener
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        known = ", ".join(sorted({*OWN, *installed}))
        raise ValueError(f"no engine is called {name!r}: LLM_CHAT_ENGINE may be one of {known}")
    loaded: Callable[[Settings], Engine] = installed[name].load()
    return loaded
