"""What the service leaves to chance is the seed's to decide, for as long as a simulation runs; its log is heard."""

import random
import secrets
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import structlog

BAD = ("error", "critical", "exception")


@contextmanager
def decided_by(seed: int) -> Iterator[None]:
    """Replace the sources of randomness that gateway, worker and shared use."""
    state = random.getstate()
    secret = random.Random(f"secrets {seed}")
    random.seed(f"service {seed}")
    try:
        with (
            patch.object(secrets, "token_hex", lambda size: f"{secret.getrandbits(size * 8):0{size * 2}x}"),
            patch.object(secrets, "randbits", secret.getrandbits),
        ):
            yield
    finally:
        random.setstate(state)


@contextmanager
def log_heard_by(hear: Callable[[str, str], None]) -> Iterator[None]:
    """Nothing is printed; `hear` gets each line's level and text. Lines below a warning cost next to nothing."""

    def take(_: Any, level: str, line: MutableMapping[str, Any]) -> str:
        hear(level, str(dict(line)))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[take], wrapper_class=structlog.make_filtering_bound_logger(30))
    try:
        yield
    finally:
        structlog.configure(**before)
