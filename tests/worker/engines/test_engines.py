"""Engines by name."""

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from shared.settings import Settings
from tests.worker.fakes import HandEngine
from worker import engines
from worker.engines.base import Engine
from worker.engines.echo import EchoEngine


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers an engine."""
    entries = [EntryPoint("theirs", f"{__name__}:their_engine", engines.GROUP)]
    monkeypatch.setattr(engines, "entry_points", lambda group: entries if group == engines.GROUP else [])


def their_engine(settings: Settings) -> Engine:
    """What the entry point names."""
    engine = HandEngine()
    engine.model = settings.engine
    return engine


async def test_our_own_are_found_even_where_nothing_is_installed(installed: None) -> None:
    assert isinstance(engines.open_engine(Settings(engine="echo")), EchoEngine)


def test_others_are_found_by_their_entry_point(installed: None) -> None:
    assert engines.open_engine(Settings(engine="theirs")).model == "theirs"


@pytest.mark.parametrize(
    "ask", [engines.check, lambda name: engines.open_engine(Settings(engine=name))], ids=["check", "open"]
)
def test_an_unknown_one_is_named_together_with_those_there_are(installed: None, ask: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"'ecko'.*LLM_CHAT_ENGINE.*echo, openai, theirs"):
        ask("ecko")
