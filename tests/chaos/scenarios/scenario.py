"""What a scenario is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.stage import Stage


class Scenario(NamedTuple):
    """`play` takes the stage, set with `settings`, and gives its figures; the rules are judged as well. `size` is what
    the figure asks for, in whatever `words` count."""

    words: str
    size: int
    settings: Mapping[str, str]
    play: Callable[[Stage, Options], Awaitable[Sequence[Figure]]]
