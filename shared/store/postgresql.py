"""PostgreSQL: asyncpg, without a thread; many rows are one round trip, which it pipelines."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, bindparam, delete, exists, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.sql import ClauseElement

from shared.store import rows
from shared.store.drivers import WAIT, Key, check_version
from shared.store.schema import sessions, tombstones, turns

T = TypeVar("T")


class Statements:
    """Those on the path of every message, in the form of its driver: for many tuples."""

    def __init__(self, dialect: Dialect) -> None:
        self.open = _compiled(_open(), dialect, [*rows.SESSION, "unless"])
        self.ask = _compiled(_ask(), dialect, rows.QUESTION)
        self.touch = _compiled(_touch(), dialect, ["now", "which", "before"])
        self.answer = _compiled(_answer(), dialect, [*rows.ANSWER, "of", "which", "above", "same", "least"])
        self.withdraw = _compiled(_withdraw(), dialect, ["of", "which"])


def _compiled(statement: ClauseElement, dialect: Dialect, names: Sequence[str]) -> str:
    """`names`: the order of its parameters, as whoever uses it expects it."""
    compiled: Any = statement.compile(dialect=dialect)
    assert compiled.positiontup == list(names), compiled.positiontup
    return str(compiled)


def _open() -> ClauseElement:
    """Unless it has a tombstone. One that is there gets a title if it has none."""
    values = select(*(bindparam(name, type_=sessions.c[name].type) for name in rows.SESSION))
    values = values.where(~exists().where(tombstones.c.id == bindparam("unless")))
    insertion = postgresql.insert(sessions).inline().from_select(rows.SESSION, values)
    untitled = sessions.c.title == literal_column("''")
    made: ClauseElement = insertion.on_conflict_do_update(
        index_elements=["id"], set_={"title": insertion.excluded.title}, where=untitled
    )
    return made


def _ask() -> ClauseElement:
    values = {name: bindparam(name, type_=turns.c[name].type) for name in rows.QUESTION}
    made: ClauseElement = (
        postgresql.insert(turns).inline().values(values).on_conflict_do_nothing(index_elements=["session", "id"])
    )
    return made


def _touch() -> ClauseElement:
    stale = sessions.c.updated_ms < bindparam("before")
    return update(sessions).where(sessions.c.id == bindparam("which"), stale).values(updated_ms=bindparam("now"))


def _answer() -> ClauseElement:
    """Never over that of a newer attempt."""
    same = (turns.c.generation == bindparam("same")) & (turns.c.attempt <= bindparam("least"))
    return (
        update(turns)
        .where(turns.c.session == bindparam("of"), turns.c.id == bindparam("which"))
        .where(or_(turns.c.generation < bindparam("above"), same))
        .values({name: bindparam(name, type_=turns.c[name].type) for name in rows.ANSWER})
    )


def _withdraw() -> ClauseElement:
    return delete(turns).where(
        turns.c.session == bindparam("of"), turns.c.id == bindparam("which"), turns.c.status == literal_column("'open'")
    )


class PostgresqlDriver:
    """See Driver. Raises ImportError where asyncpg is not installed."""

    journals = False

    def __init__(self, url: URL, *, checked: bool) -> None:
        self._engine = create_async_engine(url, connect_args={"timeout": WAIT, "command_timeout": WAIT}, pool_size=1)
        self._sql = Statements(self._engine.dialect)
        self._checked = checked
        self._connection: AsyncConnection | None = None

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """See Driver."""
        try:
            if self._connection is None:
                self._connection = await self._engine.connect()
                if self._checked:
                    await self._connection.run_sync(check_version)
            result = await self._connection.run_sync(work)
            await self._connection.commit()
        except BaseException:
            await self._let_go()
            raise
        return result

    async def close(self) -> None:
        """See Driver."""
        await self._let_go()
        await self._engine.dispose()

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.invalidate()
            with suppress(Exception):
                await connection.close()

    # --- many rows at a time -----------------------------------------------------------------------------------------

    def open(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> int:
        """See Driver."""
        self._execute(connection, self._sql.open, [(*row, row[0]) for row in given])
        return -1

    def ask(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> int:
        """See Driver."""
        self._execute(connection, self._sql.ask, given)
        return -1

    def touch(self, connection: Connection, given: Sequence[tuple[str, int]]) -> None:
        """See Driver."""
        self._execute(connection, self._sql.touch, [(now, id, now) for id, now in sorted(given)])

    def answer(self, connection: Connection, given: Sequence[tuple[Any, ...]]) -> None:
        """See Driver. Sorted, so that no two processes wait for each other's rows."""
        given = sorted(given, key=lambda row: row[:2])
        self._execute(connection, self._sql.answer, [(*row[2:], *row[:2], row[2], row[2], row[3]) for row in given])

    def withdraw(self, connection: Connection, given: Sequence[Key]) -> None:
        """See Driver."""
        self._execute(connection, self._sql.withdraw, given)

    def ended(self, connection: Connection, keys: Sequence[Key]) -> Sequence[Key]:
        """See Driver."""
        return keys  # whoever asks looks at them by another statement anyway

    def _execute(self, connection: Connection, sql: str, given: Sequence[tuple[Any, ...]]) -> None:
        connection.exec_driver_sql(sql, [tuple(map(_without_nul, row)) for row in given])


def _without_nul(value: Any) -> Any:
    """PostgreSQL's text holds no NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
