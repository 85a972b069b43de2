"""The store over SQLAlchemy Core: one connection, one transaction at a time; what comes meanwhile goes into the
next."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from shared.errors import ChatError, SessionNotFound, StoreUnavailable
from shared.store import database, rows, statements
from shared.store.drivers import Driver
from shared.store.groups import Call, Group, Settled, Work, settle
from shared.store.records import Answer, Asked, Place, Question, SessionPage, StoredSession, StoredTurn

PER_COST = 2.0  # the beginnings of two groups are so many durations of the last one apart: a busy store groups more
LONGEST_GAP = 0.01  # seconds, at most
NEAR = 0.001  # seconds: uvloop's timers count milliseconds, less than one is not worth a timer
AGAIN = 0.25  # seconds between a failure and the next try
LAST = 2.0  # seconds for what is under way when the store is closed

T = TypeVar("T")
log = structlog.get_logger("store")


class SqlStore:
    """See Store. Made within a running loop; connects when it is first used."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._touched: dict[str, int] = {}
        self._works: deque[Work] = deque()
        self._working: asyncio.Task[None] | None = None
        self._began = float("-inf")
        self._gap = 0.0
        self._away = False  # since the last transaction
        self._closed = False

    # --- Store: writing ----------------------------------------------------------------------------------------------

    def open(self, session: StoredSession) -> "asyncio.Future[None]":
        """See Store."""
        group, future = self._group(lambda group: group.takes_questions), self._future()
        group.open(session, future)
        return future

    def ask(self, question: Question, lacks: Sequence[str] = ()) -> "asyncio.Future[Asked]":
        """See Store."""
        group, future = self._group(lambda group: group.takes_questions), self._future()
        group.ask(question, lacks, future)
        return future

    def withdraw(self, session: str, id: str) -> "asyncio.Future[None]":
        """See Store."""
        group, future = self._group(lambda group: not group.full), self._future()
        group.withdraw((session, id), future)
        return future

    def answer(self, answer: Answer) -> "asyncio.Future[None]":
        """See Store."""
        group, future = self._group(lambda group: group.takes_answers), self._future()
        group.answer(answer, future)
        return future

    # --- Store: reading ----------------------------------------------------------------------------------------------

    async def session(self, id: str) -> StoredSession:
        """See Store."""

        def work(connection: Connection) -> StoredSession:
            row = connection.execute(statements.SESSION, {"id": id}).first()
            if row is None:
                raise SessionNotFound
            return rows.session_of(row)

        return await self._call(work)

    async def sessions(self, owner: str, limit: int, after: Place | None = None) -> SessionPage:
        """See Store."""
        place = after or Place((1 << 63) - 1, "")
        given = {"owner": owner, "updated_ms": place.updated_ms, "id": place.id, "limit": limit + 1}
        found = await self._call(
            lambda connection: [rows.session_of(row) for row in connection.execute(statements.SESSIONS, given)]
        )
        page = found[:limit]
        return SessionPage(page, Place(page[-1].updated_ms, page[-1].id) if len(found) > limit else None)

    async def turns(self, session: str, after: int = 0) -> list[StoredTurn]:
        """See Store."""
        given = {"of": session, "after": after}
        return await self._call(
            lambda connection: [rows.turn_of(row) for row in connection.execute(statements.TURNS, given)]
        )

    async def turn(self, session: str, id: str) -> StoredTurn | None:
        """See Store."""

        def work(connection: Connection) -> StoredTurn | None:
            row = connection.execute(statements.ONE_TURN, {"of": session, "which": id}).first()
            return None if row is None else rows.turn_of(row)

        return await self._call(work)

    # --- Store: changing ---------------------------------------------------------------------------------------------

    async def rename(self, session: str, title: str) -> None:
        """See Store."""
        await self._change(statements.RENAME, {"which": session, "new": title})

    async def annotate(self, session: str, id: str, meta: dict[str, Any]) -> None:
        """See Store."""
        await self._change(statements.ANNOTATE, {"of": session, "which": id, "new": rows.json(meta)})

    async def delete(self, session: str) -> None:
        """See Store. First the session, which others may hold; the tombstone only if there was one."""

        def work(connection: Connection) -> None:
            if connection.execute(statements.DELETE, {"ids": [session]}).rowcount != 1:
                raise SessionNotFound
            connection.execute(statements.BURY, {"id": session})

        await self._call(work)

    async def check(self) -> None:
        """See Store. Where the last transaction failed, by writing."""

        def work(connection: Connection) -> None:
            if self._away:
                probe = {"id": f"probe {secrets.token_hex(8)}"}
                connection.execute(statements.BURY, probe)
                connection.execute(statements.EXHUME, probe)
            else:
                connection.exec_driver_sql("SELECT 1")

        await self._call(work)

    async def close(self) -> None:
        """See Store."""
        self._closed = True
        if self._working is not None:
            await asyncio.wait({self._working}, timeout=LAST)
            self._working.cancel()
            await asyncio.wait({self._working})
        for work in self._works:
            work.fail(StoreUnavailable())
        await self._driver.close()

    # --- what waits --------------------------------------------------------------------------------------------------

    def _group(self, takes: Callable[[Group], bool]) -> Group:
        last = self._works[-1] if self._works else None
        if isinstance(last, Group) and takes(last):
            return last
        group = Group(self._driver, self._touched)
        self._add(group)
        return group

    async def _call(self, work: Callable[[Connection], T]) -> T:
        future: asyncio.Future[T] = self._future()
        self._add(Call(work, future))
        return await future

    async def _change(self, statement: Any, given: dict[str, Any]) -> None:
        def work(connection: Connection) -> None:
            if connection.execute(statement, given).rowcount != 1:
                raise SessionNotFound

        await self._call(work)

    def _add(self, work: Work) -> None:
        if self._closed:
            asyncio.get_running_loop().call_soon(work.fail, StoreUnavailable())
            return
        self._works.append(work)
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work(), name="store")

    def _future(self) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().create_future()

    # --- transactions ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Until nothing waits."""
        while self._works:
            wait = self._began + (AGAIN if self._away else self._gap) - time.monotonic()
            if wait >= NEAR and (self._away or not self._works[0].urgent):
                await asyncio.sleep(wait)
            self._began = time.monotonic()
            await self._do(self._works.popleft())
            self._gap = min(LONGEST_GAP, PER_COST * (time.monotonic() - self._began))

    async def _do(self, work: Work) -> None:
        try:
            settled = await self._transact(work)
        except ChatError as error:
            work.fail(error)
        except Exception as error:
            await self._do_parts(work, error)
        else:
            settle(settled)

    async def _do_parts(self, work: Work, error: Exception) -> None:
        """The database will not have it. Of a group each call is tried alone, so that one does not spoil the rest."""
        parts = work.parts()
        if not parts:
            work.fail(_of_the_caller(error))
        for part in parts:
            await self._do(part)

    async def _transact(self, work: Work) -> list[Settled]:
        """Twice: the connection may have been lost long ago. Raises StoreUnavailable, or what is the caller's fault."""
        try:
            return await self._once(work)
        except Exception as error:
            if database.is_the_callers_fault(error):
                raise
        try:
            return await self._once(work)
        except Exception as error:
            if database.is_the_callers_fault(error):
                raise
            if not self._away:
                log.error("the store is away: new messages are refused", reason=database.reason(error))
            self._away = True
            raise StoreUnavailable from None

    async def _once(self, work: Work) -> list[Settled]:
        settled = await self._driver.transact(work.run)
        if self._away:
            self._away = False
            log.info("the store is back")
        return settled


def _of_the_caller(error: Exception) -> Exception:
    """A foreign key says that the session is not there; anything else is a defect of ours."""
    if database.is_missing(error):
        return SessionNotFound()
    log.error("a call that no database can do", exc_info=error)
    return ChatError()
