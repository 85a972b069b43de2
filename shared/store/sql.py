"""The store over SQLAlchemy Core: one connection, one transaction at a time; what comes meanwhile goes into the
next. Where the database has a journal it is filed in between."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from shared.answer import Answer as Promise
from shared.errors import ChatError, SessionNotFound, StoreUnavailable
from shared.store import database, journal, rows, statements
from shared.store.drivers import Driver
from shared.store.filing import Filing
from shared.store.groups import Call, Group, Work, fail, settle
from shared.store.records import Answer, Exchange, Place, Question, SessionPage, StoredSession, StoredTurn
from shared.window import fitting

PER_COST = 5.0  # the beginnings of two groups are so many durations of the last one apart: a busy store groups more
LONGEST_GAP = 0.025  # seconds, at most
NEAR = 0.001  # seconds: uvloop's timers count milliseconds, less than one is not worth a timer
AGAIN = 0.25  # seconds between a failure and the next try
PAGE = 64  # exchanges that are read at a time
LAST = 2.0  # seconds for what is under way when the store is closed

T = TypeVar("T")
log = structlog.get_logger("store")


class SqlStore:
    """See Store. Made within a running loop; connects when it is first used."""

    def __init__(self, driver: Driver) -> None:
        self._loop = asyncio.get_running_loop()
        self._driver = driver
        self._touched: dict[str, int] = {}
        self._works: deque[Work] = deque()
        self._working: asyncio.Task[None] | None = None
        self._began = float("-inf")
        self._gap = 0.0
        self._away = False  # since the last transaction
        self._closed = False
        self._filing = Filing(time.monotonic())
        self._wake: asyncio.TimerHandle | None = None
        self._rest()

    # --- Store: writing ----------------------------------------------------------------------------------------------

    def open(self, session: StoredSession) -> "asyncio.Future[None]":
        """See Store."""
        promise = self._promise()
        self._group(Group.takes_questions).open(session, promise)
        return promise

    def ask(self, question: Question, *, fresh: bool = False) -> "asyncio.Future[Answer | None]":
        """See Store."""
        promise = self._promise()
        self._group(Group.takes_questions).ask(question, fresh, promise)
        return promise

    def withdraw(self, session: str, id: str) -> "asyncio.Future[None]":
        """See Store."""
        promise = self._promise()
        self._group(Group.takes_withdrawals).withdraw((session, id), promise)
        return promise

    def answer(self, answer: Answer) -> "asyncio.Future[None]":
        """See Store."""
        promise = self._promise()
        self._group(Group.takes_answers).answer(answer, promise)
        return promise

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

    async def context(self, session: str, id: str, room: int) -> list[Exchange]:
        """See Store. Page by page, as one cannot know how long they are."""

        def work(connection: Connection) -> list[Exchange]:
            found: list[Any] = []
            below = (1 << 63) - 1
            while True:
                given = {"of": session, "but": id, "below": below, "limit": PAGE}
                page = connection.execute(statements.CONTEXT, given).all()
                found += page
                count = fitting((len(row.content) + len(row.text) for row in found), room)
                if count < len(found) or len(page) < PAGE:
                    return [Exchange(row.content, row.text) for row in reversed(found[:count])]
                below = page[-1].generation

        return await self._call(work)

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

        await self._call(work, reads=False)

    async def close(self) -> None:
        """See Store."""
        if self._closed:
            return
        self._closed = True
        if self._wake is not None:
            self._wake.cancel()
        with suppress(TimeoutError, ChatError):
            async with asyncio.timeout(LAST):
                if self._working is not None:
                    await asyncio.wait({self._working})
                await self._file_all()
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait({self._working})
        for work in self._works:
            fail(work, StoreUnavailable())
        await self._driver.close()

    # --- what waits --------------------------------------------------------------------------------------------------

    def _group(self, takes: Callable[[Group], bool]) -> Group:
        """The last one, if it does, else a new one."""
        last = self._works[-1] if self._works else None
        if isinstance(last, Group) and takes(last):
            return last
        group = Group(self._driver, self._touched)
        self._add(group)
        return group

    async def _call(self, work: Callable[[Connection], T], *, reads: bool = True) -> T:
        promise: Promise[T] = self._promise()
        self._add(Call(work, promise, reads=reads))
        return await promise

    async def _change(self, statement: Any, given: dict[str, Any]) -> None:
        def work(connection: Connection) -> None:
            if connection.execute(statement, given).rowcount != 1:
                raise SessionNotFound

        await self._call(work)

    def _add(self, work: Work) -> None:
        if self._closed:
            self._loop.call_soon(fail, work, StoreUnavailable())
            return
        self._works.append(work)
        self._go()

    def _go(self) -> None:
        if self._working is None or self._working.done():
            self._working = self._loop.create_task(self._work(), name="store")

    def _promise(self) -> "Promise[Any]":
        return Promise(0.0, self._loop)

    # --- transactions ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Until nothing waits."""
        while self._works or self._is_due():
            if self._is_due():
                await self._file()
            if not self._works:
                continue
            wait = self._began + (AGAIN if self._away else self._gap) - time.monotonic()
            if wait >= NEAR and (self._away or not self._works[0].urgent):
                await asyncio.sleep(wait)
            self._began = time.monotonic()
            await self._do(self._works.popleft())
            self._gap = min(LONGEST_GAP, PER_COST * (time.monotonic() - self._began))
        self._rest()

    async def _do(self, work: Work) -> None:
        try:
            if work.reads:
                await self._file_all()
            results = await self._transact(work.run)
        except ChatError as error:
            fail(work, error)
        except Exception as error:
            await self._do_parts(work, error)
        else:
            if isinstance(work, Group) and work.size:
                self._filing.wrote(work.size, time.monotonic())
            settle(work.promises, results)

    async def _do_parts(self, work: Work, error: Exception) -> None:
        """The database will not have it. Of a group each call is tried alone, so that one does not spoil the rest."""
        parts = work.parts()
        if not parts:
            fail(work, _of_the_caller(error))
        for part in parts:
            await self._do(part)

    async def _transact(self, work: Callable[[Connection], T]) -> T:
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

    async def _once(self, work: Callable[[Connection], T]) -> T:
        result = await self._driver.transact(work)
        if self._away:
            self._away = False
            log.info("the store is back")
        return result

    # --- filing ------------------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        due_at = self._filing.due_at
        return self._driver.journals and due_at is not None and due_at <= time.monotonic()

    def _rest(self) -> None:
        """There is nothing to do until something is to be filed."""
        due_at = self._filing.due_at
        if self._driver.journals and due_at is not None and not self._closed:
            if self._wake is not None:
                self._wake.cancel()
            self._wake = self._loop.call_later(max(NEAR, due_at - time.monotonic()), self._go)

    async def _file(self) -> None:
        """A part of what is due; what others wait for comes before the next one."""
        try:
            if not await self._transact(partial(journal.file, driver=self._driver)):
                self._filing.done()
        except Exception as error:
            self._filing.failed(time.monotonic())
            if not isinstance(error, ChatError):
                log.error("the journal cannot be filed", exc_info=error)

    async def _file_all(self) -> None:
        """So that whatever is read from now on is there. Raises StoreUnavailable."""
        if self._driver.journals:
            while await self._transact(partial(journal.file, driver=self._driver)):
                pass
            self._filing.done()


def _of_the_caller(error: Exception) -> Exception:
    """A foreign key says that the session is not there; anything else is a defect of ours."""
    if database.is_missing(error):
        return SessionNotFound()
    log.error("a call that no database can do", exc_info=error)
    return ChatError()
