"""A plain client's connection: texts in, texts out, no positions."""

from collections.abc import Iterable

from tests.chaos.checker.record import Record


class PlainConnection:
    """What was said and what came. Replies are in the order of the messages, never interleaved."""

    def __init__(self, opened: Record) -> None:
        self.opened = opened
        self.client = opened.name
        self.number: int = opened["connection"]
        self.sent: list[Record] = []
        self.got: list[Record] = []
        self.closed: Record | None = None

    @property
    def subject(self) -> str:
        """What to call it."""
        return f"{self.client} (plain connection {self.number})"

    @property
    def contents(self) -> list[str]:
        """The messages, in order."""
        return [record["frame"]["content"] for record in self.sent]

    @property
    def losses(self) -> list[Record]:
        """Where it was said that what was under way is lost."""
        return [record for record in self.got if str(record["frame"]["text"]).startswith("error: lost:")]


def plain_connections_of(records: Iterable[Record]) -> list[PlainConnection]:
    """A plain client's, from its records."""
    found: dict[int, PlainConnection] = {}
    for record in records:
        number = record.get("connection")
        if record.what == "connect":
            found[number] = PlainConnection(record)
        elif number in found:
            connection = found[number]
            if record.what == "sent":
                connection.sent.append(record)
            elif record.what == "got":
                connection.got.append(record)
            elif record.what == "closed":
                connection.closed = record
    return list(found.values())
