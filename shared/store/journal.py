"""SQLite's journal: what a group writes is one row here, and filed into the tables later, many groups at a time.

Rows and indexes are dear where thousands of messages come in a second; one blob per group is not. The journal is a
table of the same database: so it is as durable as the others, one order holds for all processes, and filing is a
transaction that takes from the one and writes to the others. Whoever reads files first, so nobody sees a difference.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import msgspec
import structlog
from sqlalchemy import Connection

from shared.store import database, rows
from shared.store.drivers import Driver, Key
from shared.store.records import Answer, Question, StoredSession

MOST_BYTES = 1 << 20  # that are filed in one transaction, which holds up what other processes write

log = structlog.get_logger("store")


class Page(msgspec.Struct, array_like=True):
    """Writes, in the order in which they are done."""

    opens: list[StoredSession]
    asks: list[Question]
    answers: list[Answer]
    withdrawals: list[Key]

    def add(self, later: "Page") -> None:
        """Put another one's writes behind those of this one, which must have no withdrawals."""
        self.opens += later.opens
        self.asks += later.asks
        self.answers += later.answers
        self.withdrawals += later.withdrawals

    def singly(self) -> "Iterator[Page]":
        """Each write by itself."""
        yield from (Page([one], [], [], []) for one in self.opens)
        yield from (Page([], [one], [], []) for one in self.asks)
        yield from (Page([], [], [one], []) for one in self.answers)
        yield from (Page([], [], [], [one]) for one in self.withdrawals)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Page).decode


def note(connection: Connection, page: Page) -> int:
    """Put a page into the journal. Returns its size in bytes."""
    body = _encode(page)
    _execute(connection, "INSERT INTO journal (body) VALUES (?)", (body,))
    return len(body)


def file(connection: Connection, driver: Driver) -> bool:
    """Move the oldest pages to where they belong, a transaction's worth of them. Returns whether there may be more."""
    taken, page = _oldest(connection)
    if taken == 0:
        return False
    if page is not None:
        _file(connection, driver, page)
    _execute(connection, "DELETE FROM journal WHERE number BETWEEN 1 AND ?", (taken,))
    return True


def _oldest(connection: Connection) -> tuple[int, Page | None]:
    """The number of the last page that is taken, 0 for none; and what they hold together."""
    last, size, whole = 0, 0, None
    with closing(_cursor(connection)) as cursor:
        for number, body in cursor.execute("SELECT number, body FROM journal WHERE number > 0 ORDER BY number"):
            page = _read(connection, number, body)
            last, size = number, size + len(body)
            if whole is None:
                whole = page
            elif page is not None:
                whole.add(page)
            if size >= MOST_BYTES or (whole is not None and whole.withdrawals):
                break
    return last, whole


def _read(connection: Connection, number: int, body: bytes) -> Page | None:
    """None: it is put aside, where no one looks again by himself."""
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        log.error("a page of the journal cannot be read and is put aside", number=-number, error=str(error))
        _execute(connection, "UPDATE journal SET number = -number WHERE number = ?", (number,))
        return None


def _file(connection: Connection, driver: Driver, page: Page) -> None:
    """All at once; where the database will not have one of them, each by itself."""
    try:
        _guarded(connection, lambda: _write(connection, driver, page))
    except Exception as error:
        if not database.is_the_callers_fault(error):
            raise
        for one in page.singly():
            try:
                _guarded(connection, lambda one=one: _write(connection, driver, one))  # type: ignore[misc]
            except Exception as error:
                if not database.is_the_callers_fault(error):
                    raise
                log.error("something that was stored cannot be filed", exc_info=error)


def _guarded(connection: Connection, work: Callable[[], None]) -> None:
    """Undo what fails, and that only."""
    _execute(connection, "SAVEPOINT filing")
    try:
        work()
    except BaseException:
        with suppress(sqlite3.Error):  # the whole transaction may be undone already, where the disk is full
            _execute(connection, "ROLLBACK TO filing")
            _execute(connection, "RELEASE filing")
        raise
    _execute(connection, "RELEASE filing")


def _write(connection: Connection, driver: Driver, page: Page) -> None:
    driver.open(connection, [rows.of_session(one) for one in page.opens])
    driver.ask(connection, [rows.of_question(one) for one in page.asks])
    newest: dict[str, int] = {}
    for one in page.asks:
        newest[one.session] = max(newest.get(one.session, 0), one.asked_ms)
    driver.touch(connection, list(newest.items()))
    driver.answer(connection, rows.of_newest(page.answers))
    driver.withdraw(connection, page.withdrawals)


def _cursor(connection: Connection) -> sqlite3.Cursor:
    return connection.connection.cursor()  # type: ignore[return-value]  # it is SQLite's own


def _execute(connection: Connection, sql: str, given: tuple[object, ...] = ()) -> None:
    with closing(_cursor(connection)) as cursor:
        cursor.execute(sql, given)
