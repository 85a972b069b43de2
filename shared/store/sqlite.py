"""SQLite: one thread that does a whole transaction at a time.

A call of the driver lets other threads run, and has to wait for its turn behind it: with an event loop that has much to
do that may take milliseconds, for each of them. So a transaction is one errand to the thread, and many rows are one
statement. (Measured against a thread that is asked for each call: half the CPU per transaction.)
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL

from shared.store import rows
from shared.store.drivers import WAIT, Key, check_version

# FULL: a commit is on the disk when it is answered, so what was confirmed outlives a power failure too. With groups
# it is one fsync for many turns.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000")
STEP = 0.001  # seconds between two looks whether another process has finished its transaction
SIZES = (64, 8, 1)  # rows of a statement: few texts, which the driver keeps compiled

T = TypeVar("T")


class Many:
    """A statement for 64, 8 or 1 rows of `width` parameters. `head` and `tail` stand around their VALUES."""

    def __init__(self, head: str, width: int, tail: str = "") -> None:
        row = f"({', '.join('?' * width)})"
        self._texts = {size: f"{head} VALUES {', '.join([row] * size)}{tail}" for size in SIZES}

    def execute(self, cursor: sqlite3.Cursor, given: Sequence[tuple[Any, ...]]) -> int:
        """Returns how many rows were written."""
        count = 0
        for text, values in self.chunks(given):
            count += cursor.execute(text, values).rowcount
        return count

    def chunks(self, given: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
        """Each with its text."""
        start = 0
        for size in SIZES:
            while len(given) - start >= size:
                yield self._texts[size], [value for row in given[start : start + size] for value in row]
                start += size


OPEN = Many(
    f"INSERT INTO sessions ({', '.join(rows.SESSION)}) SELECT * FROM (",
    len(rows.SESSION),
    ") WHERE column1 NOT IN (SELECT id FROM tombstones)"
    " ON CONFLICT (id) DO UPDATE SET title = excluded.title WHERE sessions.title = ''",
)
ASK = Many(
    f"INSERT INTO turns ({', '.join(rows.QUESTION)}) SELECT * FROM (",
    len(rows.QUESTION),
    ") WHERE column1 IN (SELECT id FROM sessions) ON CONFLICT (session, id) DO NOTHING",
)
TOUCH = Many(
    "UPDATE sessions SET updated_ms = new.column2 FROM (",
    2,
    ") AS new WHERE sessions.id = new.column1 AND sessions.updated_ms < new.column2",
)
ANSWER = Many(
    f"UPDATE turns SET {', '.join(f'{name} = new.column{place}' for place, name in enumerate(rows.ANSWER, 3))} FROM (",
    2 + len(rows.ANSWER),
    ") AS new WHERE turns.session = new.column1 AND turns.id = new.column2 AND (turns.generation < new.column3"
    " OR turns.generation = new.column3 AND turns.attempt <= new.column4)",
)
WITHDRAW = "DELETE FROM turns WHERE session = ? AND id = ? AND status = 'open'"
ENDED = Many(
    "SELECT session, id FROM (",
    2,
    ") AS asked CROSS JOIN turns ON session = asked.column1 AND id = asked.column2 WHERE status != 'open'",
)


class SqliteDriver:
    """See Driver."""

    journals = True

    def __init__(self, url: URL, *, checked: bool) -> None:
        self._engine = create_engine(
            url.set(drivername="sqlite"), connect_args={"timeout": 0, "check_same_thread": False}
        )
        event.listen(self._engine, "connect", _prepare)
        self._thread = ThreadPoolExecutor(1, "store")
        self._checked = checked
        self._connection: Connection | None = None

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """See Driver."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                if self._checked:
                    check_version(self._connection)
            with self._connection.begin():
                _begin(self._connection)
                return work(self._connection)
        except BaseException:
            self._let_go()
            raise

    async def close(self) -> None:
        """See Driver."""
        with suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        self._thread.shutdown()  # it has nothing to do any more

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.invalidate()
            with suppress(Exception):
                connection.close()

    # --- many rows at a time -----------------------------------------------------------------------------------------

    def open(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> int:
        """See Driver."""
        return _execute(connection, OPEN, given)

    def ask(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> int:
        """See Driver."""
        return _execute(connection, ASK, given)

    def touch(self, connection: Connection, given: Sequence[tuple[str, int]]) -> None:
        """See Driver."""
        _execute(connection, TOUCH, given)

    def answer(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> None:
        """See Driver."""
        _execute(connection, ANSWER, given)

    def withdraw(self, connection: Connection, given: Sequence[Key]) -> None:
        """See Driver."""
        with closing(connection.connection.cursor()) as cursor:
            cursor.executemany(WITHDRAW, given)

    def ended(self, connection: Connection, keys: Sequence[Key]) -> list[Key]:
        """See Driver."""
        found: list[Key] = []
        with closing(connection.connection.cursor()) as cursor:
            for text, values in ENDED.chunks(keys):
                found += cursor.execute(text, values).fetchall()
        return found


def _begin(connection: Connection) -> None:
    """Take the file's one lock for writing. Raises sqlite3.OperationalError.

    SQLite itself would wait in steps that soon are 25 ms long: that is ten transactions of another process.
    """
    until = time.monotonic() + WAIT
    while True:
        try:
            connection.connection.cursor().execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(STEP)
        else:
            return


def _execute(connection: Connection, many: Many, given: Sequence[tuple[Any, ...]]) -> int:
    with closing(connection.connection.cursor()) as cursor:
        return many.execute(cursor, given)  # type: ignore[arg-type]  # it is SQLite's own


def _prepare(connection: Any, record: Any) -> None:
    with closing(connection.cursor()) as cursor:
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
