"""An event of a session's reply queue, as a client got it."""

import re
from functools import cached_property
from typing import Any, NamedTuple

from tests.chaos.checker.record import Record

_CURSOR = re.compile(r"(\d+)-(\d+)-(\d+)-([0-9a-f]+)")


def is_cursor(text: object) -> bool:
    """Whether a position can be read from it."""
    return isinstance(text, str) and _CURSOR.fullmatch(text) is not None


class Position(NamedTuple):
    """What a cursor says. Compared in this order; the nonce only tells attempts of different memories apart."""

    generation: int
    attempt: int
    seq: int
    nonce: str

    @staticmethod
    def of(cursor: str) -> "Position":
        """Raises ValueError."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError(f"{cursor!r} is no cursor")
        return Position(int(match[1]), int(match[2]), int(match[3]), match[4])

    @property
    def place(self) -> tuple[int, int, int]:
        """Without the nonce."""
        return self[:3]


class Event:
    """A frame with a cursor."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.frame: dict[str, Any] = record["frame"]
        self.cursor: str = self.frame["cursor"]

    @cached_property
    def position(self) -> Position:
        """Raises ValueError."""
        return Position.of(self.cursor)

    @property
    def t(self) -> float:
        """When it came, in monotonic seconds."""
        return self.record.t

    @property
    def type(self) -> str:
        """started, delta, takeover, done or error."""
        return str(self.frame["type"])

    @property
    def id(self) -> str:
        """The message that it belongs to."""
        return str(self.frame.get("id"))

    @property
    def text(self) -> str:
        """Of a delta."""
        return str(self.frame.get("text", ""))

    @property
    def terminal(self) -> bool:
        """Whether it ends its reply."""
        return self.type in ("done", "error")

    @property
    def reason(self) -> str:
        """How a terminal says that the reply ended."""
        return str(self.frame["finish_reason"] if self.type == "done" else f"error {self.frame['code']}")
