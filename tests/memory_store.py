"""A store for tests: dictionaries that keep the contract of shared.store.base, and can be `away`."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from shared.errors import SessionNotFound, StoreUnavailable
from shared.store import Answer, Exchange, Place, Question, SessionPage, StoredSession, StoredTurn
from shared.window import fitting

T = TypeVar("T")


class MemoryStore:
    """See Store. `away`: every call fails. `held`: writes are done, but their answers wait for `release`."""

    def __init__(self) -> None:
        self.away = False
        self.held = False
        self.calls: list[str] = []
        self._sessions: dict[str, StoredSession] = {}
        self._turns: dict[tuple[str, str], StoredTurn] = {}
        self._tombstones: set[str] = set()
        self._number = 0
        self._waiting: list[Callable[[], None]] = []

    # --- what tests do -----------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Give the answers that were held back, in order."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        for give in waiting:
            give()

    # --- Store: writing ----------------------------------------------------------------------------------------------

    def open(self, session: StoredSession) -> "asyncio.Future[None]":
        """See Store."""
        return self._do("open", lambda: self._open(session))

    def ask(self, question: Question, *, fresh: bool = False) -> "asyncio.Future[Answer | None]":
        """See Store."""
        assert not (fresh and (question.session, question.id) in self._turns)
        return self._do("ask", lambda: self._ask(question))

    def withdraw(self, session: str, id: str) -> "asyncio.Future[None]":
        """See Store."""
        return self._do("withdraw", lambda: self._withdraw(session, id))

    def answer(self, answer: Answer) -> "asyncio.Future[None]":
        """See Store."""
        return self._do("answer", lambda: self._answer(answer))

    def _open(self, session: StoredSession) -> None:
        if session.id in self._tombstones:
            raise SessionNotFound
        known = self._sessions.setdefault(session.id, session)
        self._sessions[session.id] = msgspec.structs.replace(known, title=known.title or session.title)

    def _ask(self, question: Question) -> Answer | None:
        session = self._known(question.session)
        key = (question.session, question.id)
        if key not in self._turns:
            self._number += 1
            self._turns[key] = StoredTurn(question, None, self._number)
            updated = max(session.updated_ms, question.asked_ms)
            self._sessions[session.id] = msgspec.structs.replace(session, updated_ms=updated)
        return self._turns[key].answer

    def _withdraw(self, session: str, id: str) -> None:
        turn = self._turns.get((session, id))
        if turn is not None and turn.answer is None:
            del self._turns[session, id]

    def _answer(self, answer: Answer) -> None:
        turn = self._turns.get((answer.session, answer.id))
        if turn is None:
            return
        stands = turn.answer
        if stands is None or (stands.generation, stands.attempt) <= (answer.generation, answer.attempt):
            self._turns[answer.session, answer.id] = msgspec.structs.replace(turn, answer=answer)

    # --- Store: reading and changing ---------------------------------------------------------------------------------

    async def session(self, id: str) -> StoredSession:
        """See Store."""
        self._reach("session")
        return self._known(id)

    async def sessions(self, owner: str, limit: int, after: Place | None = None) -> SessionPage:
        """See Store."""
        self._reach("sessions")
        found = sorted((s for s in self._sessions.values() if s.owner == owner), key=_place, reverse=True)
        found = [session for session in found if after is None or _place(session) < after]
        page = found[:limit]
        return SessionPage(page, _place(page[-1]) if len(found) > limit else None)

    async def turns(self, session: str, after: int = 0) -> list[StoredTurn]:
        """See Store."""
        self._reach("turns")
        turns = [turn for turn in self._turns.values() if turn.question.session == session]
        turns = [turn for turn in turns if turn.answer is None or turn.answer.generation > after]
        return sorted(turns, key=_order)

    async def context(self, session: str, id: str, room: int) -> list[Exchange]:
        """See Store."""
        self._reach("context")
        turns = [turn for turn in self._turns.values() if turn.question.session == session and turn.question.id != id]
        found = [turn.exchange for turn in sorted(turns, key=_order, reverse=True) if turn.exchange is not None]
        count = fitting((len(exchange.content) + len(exchange.text) for exchange in found), room)
        return found[:count][::-1]

    async def turn(self, session: str, id: str) -> StoredTurn | None:
        """See Store."""
        self._reach("turn")
        return self._turns.get((session, id))

    async def rename(self, session: str, title: str) -> None:
        """See Store."""
        self._reach("rename")
        self._sessions[session] = msgspec.structs.replace(self._known(session), title=title)

    async def annotate(self, session: str, id: str, meta: dict[str, Any]) -> None:
        """See Store."""
        self._reach("annotate")
        turn = self._turns.get((session, id))
        if turn is None:
            raise SessionNotFound
        question = msgspec.structs.replace(turn.question, meta=meta)
        self._turns[session, id] = msgspec.structs.replace(turn, question=question)

    async def delete(self, session: str) -> None:
        """See Store."""
        self._reach("delete")
        self._known(session)
        del self._sessions[session]
        self._tombstones.add(session)
        self._turns = {key: turn for key, turn in self._turns.items() if key[0] != session}

    async def check(self) -> None:
        """See Store."""
        self._reach("check")

    async def close(self) -> None:
        """See Store."""
        self.release()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _known(self, session: str) -> StoredSession:
        found = self._sessions.get(session)
        if found is None:
            raise SessionNotFound
        return found

    def _reach(self, method: str) -> None:
        self.calls.append(method)
        if self.away:
            raise StoreUnavailable

    def _do(self, method: str, work: Callable[[], T]) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._reach(method)
            result = work()
        except (SessionNotFound, StoreUnavailable) as error:
            future.set_exception(error)
            future.exception()  # whoever needs no answer need not look at it
            return future
        if self.held:
            self._waiting.append(lambda: future.set_result(result))
        else:
            future.set_result(result)
        return future


def _place(session: StoredSession) -> Place:
    return Place(session.updated_ms, session.id)


def _order(turn: StoredTurn) -> tuple[bool, int, int]:
    """The answered ones as they ran, then the open ones as they came."""
    return (True, 0, turn.number) if turn.answer is None else (False, turn.answer.generation, turn.number)
