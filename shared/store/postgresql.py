"""PostgreSQL: asyncpg, without a thread; many rows are one round trip, which it pipelines."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from shared.store import statements
from shared.store.drivers import WAIT, Key, check_version

T = TypeVar("T")


class PostgresqlDriver:
    """See Driver. Raises ImportError where asyncpg is not installed."""

    def __init__(self, url: URL, *, checked: bool) -> None:
        self._engine = create_async_engine(url, connect_args={"timeout": WAIT, "command_timeout": WAIT}, pool_size=1)
        self._sql = statements.Postgresql(self._engine.dialect)
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

    def exchanges(self, connection: Connection, keys: Sequence[Key]) -> Sequence[Sequence[Any]]:
        """See Driver."""
        return statements.by_keys(connection, statements.EXCHANGES, keys)

    def _execute(self, connection: Connection, sql: str, given: Sequence[tuple[Any, ...]]) -> None:
        connection.exec_driver_sql(sql, [tuple(map(_without_nul, row)) for row in given])


def _without_nul(value: Any) -> Any:
    """PostgreSQL's text holds no NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
