"""What a database has of its own: how a transaction is run, and the statements on the path of every message."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from shared.store import versions

WAIT = 5.0  # seconds for a connection, a statement, or another process's transaction
Key = tuple[str, str]  # a session and the id of one of its messages
T = TypeVar("T")


class Driver(Protocol):
    """One connection, made when it is needed, made anew behind any failure. Rows are in the order of shared.store.rows.
    Where a count is returned it is that of the rows that were written; -1: not known."""

    journals: bool  # writes go to the journal first, see shared.store.journal

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run it and commit. Raises what it raises; the fate of the transaction is unknown then."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    def open(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> int:
        """SESSION: those that are not known, and have no tombstone."""
        ...

    def ask(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> int:
        """QUESTION: those that are not known."""
        ...

    def touch(self, connection: Connection, given: Sequence[tuple[str, int]]) -> None:
        """Session, updated_ms."""
        ...

    def answer(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> None:
        """Session, id, ANSWER; each key once."""
        ...

    def withdraw(self, connection: Connection, given: Sequence[Key]) -> None:
        """Those that are open."""
        ...

    def ended(self, connection: Connection, keys: Sequence[Key]) -> Sequence[Key]:
        """Those that have an answer."""
        ...


class WrongVersion(OSError):
    """The database has another schema than this code needs; the message says what to do."""


def check_version(connection: Connection) -> None:
    """Raises WrongVersion."""
    if sentence := versions.complaint(versions.version_of(connection)):
        raise WrongVersion(sentence)
    connection.rollback()
