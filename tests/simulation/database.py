"""The database that all processes share. Each has a way of its own to it, on which calls take time; what a process has
not sent when it dies is never written, and what it has sent is."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from shared.errors import SessionNotFound, StoreUnavailable
from shared.store import Answer, Exchange, Place, Question, SessionPage, StoredSession, StoredTurn
from tests.memory_store import MemoryStore
from tests.simulation.violation import Violation

T = TypeVar("T")
WAY = (0.0001, 0.004)  # seconds, there and back each


class Database(MemoryStore):
    """What is stored. `unseen`: messages whose answer was there, but whoever asked for them did not look."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen: set[tuple[str, str]] = set()

    def _answer(self, answer: Answer) -> None:
        key = (answer.session, answer.id)
        stands = self._turns[key].answer if key in self._turns else None
        if key in self.unseen and stands is not None and answer.generation > stands.generation:
            raise Violation("history", f"{answer.id} had ended, and ran again")
        super()._answer(answer)


class DatabaseLink:
    """See Store; `contents` is the database. Calls arrive in their order."""

    def __init__(self, contents: Database, chance: Random) -> None:
        self._contents = contents
        self._chance = chance
        self._arrives = 0.0
        self._under_way: set[asyncio.TimerHandle] = set()

    def open(self, session: StoredSession) -> "asyncio.Future[None]":
        return self._call(lambda: self._contents._open(session))

    def ask(self, question: Question, *, fresh: bool = False) -> "asyncio.Future[Answer | None]":
        return self._call(lambda: self._ask(question, fresh))

    def _ask(self, question: Question, fresh: bool) -> Answer | None:
        answer = self._contents._ask(question)
        if fresh and answer is not None:
            self._contents.unseen.add((question.session, question.id))
        return None if fresh else answer

    def withdraw(self, session: str, id: str) -> "asyncio.Future[None]":
        return self._call(lambda: self._contents._withdraw(session, id))

    def answer(self, answer: Answer) -> "asyncio.Future[None]":
        return self._call(lambda: self._contents._answer(answer))

    async def session(self, id: str) -> StoredSession:
        return await self._call(lambda: self._contents._known(id))

    async def turns(self, session: str, after: int = 0) -> list[StoredTurn]:
        await self._call(lambda: None)
        return await self._contents.turns(session, after)

    async def context(self, session: str, id: str, room: int) -> list[Exchange]:
        await self._call(lambda: None)
        return await self._contents.context(session, id, room)

    async def turn(self, session: str, id: str) -> StoredTurn | None:
        return await self._call(lambda: self._contents._turns.get((session, id)))

    async def sessions(self, owner: str, limit: int, after: Place | None = None) -> SessionPage:
        raise NotImplementedError

    async def rename(self, session: str, title: str) -> None:
        raise NotImplementedError

    async def annotate(self, session: str, id: str, meta: dict[str, Any]) -> None:
        raise NotImplementedError

    async def delete(self, session: str) -> None:
        raise NotImplementedError

    async def check(self) -> None:
        await self._call(lambda: None)

    async def close(self) -> None:
        for timer in self._under_way:
            timer.cancel()

    def _call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._arrives = max(loop.time() + self._chance.uniform(*WAY), self._arrives + 1e-6)
        self._later(self._arrives - loop.time(), lambda: self._arrive(future, work))
        return future

    def _arrive(self, future: "asyncio.Future[T]", work: Callable[[], T]) -> None:
        back = self._chance.uniform(*WAY)
        try:
            self._contents._reach("a call")
            result = work()
        except (SessionNotFound, StoreUnavailable) as error:
            failure = error
            self._later(back, lambda: _fail(future, failure))
        else:
            self._later(back, lambda: _settle(future, result))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        def do() -> None:
            self._under_way.discard(timer)
            what()

        timer = asyncio.get_running_loop().call_later(seconds, do)
        self._under_way.add(timer)


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever needs no answer need not look at it
