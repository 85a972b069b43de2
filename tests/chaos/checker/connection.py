"""One client's connection, as far as it belongs to one session."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from tests.chaos.checker.event import Event, is_cursor
from tests.chaos.checker.record import Record


class Connection:
    """A JSON connection. One that has to begin a new session because its old one is not found counts as two."""

    def __init__(self, opened: Record) -> None:
        self.opened = opened
        self.client = opened.name
        self.number: int = opened["connection"]
        self.gateway = str(opened.get("gateway"))
        self.replay = bool(opened.get("replay"))
        self.records: list[Record] = []
        self.closed: Record | None = None
        self.session: str | None = None
        self.after: str | None = None  # the cursor that it resumed from
        self.lost = False  # its session was not found

    def take(self, record: Record) -> None:
        """The next record."""
        self.records.append(record)
        frame = record.get("frame", {})
        kind = frame.get("type")
        if record.what == "closed":
            self.closed = record
        elif record.what == "sent" and kind == "resume":
            self.session, self.after = frame["session_id"], frame.get("after")
        elif record.what == "got" and kind == "session":
            self.session = frame["session_id"]
        elif record.what == "got" and _not_found(frame):
            self.lost = True

    def ended_for(self, record: Record) -> bool:
        """Whether a record belongs to another session, which this same socket begins now."""
        opens = record.what == "sent" and record["frame"].get("type") in ("start", "resume", "message")
        return self.lost and opens

    @cached_property
    def events(self) -> list[Event]:
        """In the order in which they came. Only to be asked for when all records are there."""
        return [Event(record) for record in self.got() if is_cursor(record["frame"].get("cursor"))]

    def got(self, *types: str) -> list[Record]:
        """The frames that came, of these types or all."""
        return [r for r in self.records if r.what == "got" and (not types or r["frame"].get("type") in types)]

    def sent(self, *types: str) -> list[Record]:
        """The frames of these types that were sent."""
        return [r for r in self.records if r.what == "sent" and r["frame"].get("type") in types]

    @property
    def losses(self) -> list[Record]:
        """Where it was said that events are gone."""
        said = [r for r in self.got("session") if r["frame"]["recovered"] is False]
        return said + [r for r in self.got("error") if _not_found(r["frame"])]

    def lasts_at(self, t: float) -> bool:
        """Whether it was open at a moment."""
        return self.opened.t <= t and (self.closed is None or t <= self.closed.t)

    @property
    def cut(self) -> bool:
        """Whether something else than the client ended it."""
        return self.closed is not None and self.closed["by"] != "us"


def _not_found(frame: dict[str, Any]) -> bool:
    """Whether it answers a resume; a message that is refused has an id."""
    return frame.get("code") == "session_not_found" and "id" not in frame


def connections_of(records: Iterable[Record]) -> list[Connection]:
    """A JSON client's, from its records."""
    found: list[Connection] = []
    current: dict[Any, Connection] = {}
    for record in records:
        number = record.get("connection")
        if record.what == "connect":
            current[number] = Connection(record)
            found.append(current[number])
        elif number in current:
            if current[number].ended_for(record):
                current[number] = Connection(current[number].opened)
                found.append(current[number])
            current[number].take(record)
    return found
