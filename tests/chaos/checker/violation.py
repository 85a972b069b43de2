"""One breach of one rule."""

from typing import NamedTuple

from tests.chaos.checker.record import Record


class Violation(NamedTuple):
    """`subject` is a session and message, a client or a process; `records` show what is said in `sentence`."""

    rule: str
    subject: str
    sentence: str
    records: tuple[Record, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(record.where for record in self.records)
        return f"{self.rule}: {self.subject}: {self.sentence}" + (f" ({shown})" if shown else "")
