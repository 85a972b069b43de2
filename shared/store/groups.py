"""What goes into one transaction: all writes that came while the last one was under way.

A group writes in the order open, ask, answer, withdraw; `takes` says whether the next write may join without being done
before one that was started earlier.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

import structlog
from sqlalchemy import Connection

from shared.answer import Answer as Promise
from shared.errors import ChatError, SessionNotFound
from shared.store import journal, rows, statements
from shared.store.drivers import Driver, Key
from shared.store.journal import Page
from shared.store.records import Answer, Question, StoredSession

MOST = 1_000  # writes in one transaction: others wait for it, in other processes too
TOUCH_AFTER = 10_000  # ms: a session's `updated_ms` is written again when it is older than that
REMEMBERED = 20_000  # sessions of which we know when that was

T = TypeVar("T")
log = structlog.get_logger("store")


Results = dict["Promise[Any]", Any]  # what calls are answered, errors too; those that are not named: None


class Work(Protocol):
    """Something that is done in one transaction."""

    urgent: bool  # it waits for no others

    @property
    def reads(self) -> bool:
        """Whether it wants to see all that was written before it."""
        ...

    @property
    def promises(self) -> "Iterable[Promise[Any]]":
        """Who waits for it."""
        ...

    def run(self, connection: Connection) -> Results:
        """Do it; the answers are given behind the commit. May be run again where its fate is unknown."""
        ...

    def parts(self) -> Sequence["Work"]:
        """The same in as many transactions as there are calls, for where one of them spoils it for all."""
        ...


class Call(Generic[T]):
    """Anything that is not grouped."""

    urgent = True

    def __init__(self, work: Callable[[Connection], T], promise: "Promise[T]", *, reads: bool) -> None:
        self.reads = reads
        self._work = work
        self._promise = promise

    @property
    def promises(self) -> "Iterable[Promise[Any]]":
        """See Work."""
        return (self._promise,)

    def run(self, connection: Connection) -> Results:
        """See Work."""
        try:
            return {self._promise: self._work(connection)}
        except ChatError as error:
            return {self._promise: error}

    def parts(self) -> Sequence[Work]:
        """See Work."""
        return ()


class Group:
    """Writes, each with the promise that waits for it. `touched`: when a session's `updated_ms` was last written."""

    urgent = False

    def __init__(self, driver: Driver, touched: dict[str, int]) -> None:
        self.size = 0  # bytes that it has put into the journal
        self._driver = driver
        self._touched = touched
        self._page = Page([], [], [], [])
        self._opened: list[Promise[None]] = []
        self._asked: list[Promise[Answer | None]] = []
        self._answered: list[Promise[None]] = []
        self._withdrawn: list[Promise[None]] = []
        self._doubtful: list[Key] = []  # messages that may have been answered long ago

    @property
    def full(self) -> bool:
        """Whether the next write needs another one."""
        return len(self._asked) + len(self._answered) + len(self._opened) >= MOST

    def takes_questions(self) -> bool:
        """Whether an `open` or an `ask` may join."""
        return not (self._answered or self._withdrawn or self.full)

    def takes_answers(self) -> bool:
        """Whether an `answer` may join."""
        return not (self._withdrawn or self.full)

    def takes_withdrawals(self) -> bool:
        """Whether a `withdraw` may join."""
        return not self.full

    def open(self, session: StoredSession, promise: "Promise[None]") -> None:
        """Join."""
        self._page.opens.append(session)
        self._opened.append(promise)

    def ask(self, question: Question, fresh: bool, promise: "Promise[Answer | None]") -> None:
        """Join."""
        self._page.asks.append(question)
        self._asked.append(promise)
        if not fresh:
            self._doubtful.append((question.session, question.id))

    def answer(self, answer: Answer, promise: "Promise[None]") -> None:
        """Join."""
        self._page.answers.append(answer)
        self._answered.append(promise)

    def withdraw(self, key: Key, promise: "Promise[None]") -> None:
        """Join."""
        self._page.withdrawals.append(key)
        self._withdrawn.append(promise)

    # --- Work --------------------------------------------------------------------------------------------------------

    @property
    def reads(self) -> bool:
        """See Work. An answer may be in the journal."""
        return bool(self._doubtful)

    @property
    def promises(self) -> "Iterable[Promise[Any]]":
        """See Work."""
        return chain(self._opened, self._asked, self._answered, self._withdrawn)

    def run(self, connection: Connection) -> Results:
        """See Work."""
        if self._driver.journals:
            return self._note(connection)
        results: Results = {}
        if self._opened:
            results |= self._run_opens(connection)
        if self._asked:
            results |= self._run_asks(connection)
        if self._answered:
            self._driver.answer(connection, rows.of_newest(self._page.answers))
        if self._withdrawn:
            self._driver.withdraw(connection, self._page.withdrawals)
        return results

    def parts(self) -> Sequence[Work]:
        """See Work."""
        parts: list[Group] = []

        def part() -> Group:
            parts.append(Group(self._driver, self._touched))
            return parts[-1]

        page = self._page
        for session, opened in zip(page.opens, self._opened, strict=True):
            part().open(session, opened)
        for question, asked in zip(page.asks, self._asked, strict=True):
            part().ask(question, (question.session, question.id) not in self._doubtful, asked)
        for answer, answered in zip(page.answers, self._answered, strict=True):
            part().answer(answer, answered)
        for key, withdrawn in zip(page.withdrawals, self._withdrawn, strict=True):
            part().withdraw(key, withdrawn)
        return parts if len(parts) > 1 else ()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _note(self, connection: Connection) -> Results:
        """What is wrong with a write, if anything, shows when it is filed; only an answer is wanted now."""
        self.size = journal.note(connection, self._page)
        if self._doubtful and (ended := self._driver.ended(connection, self._doubtful)):
            return self._answers(connection, ended)
        return {}

    def _answers(self, connection: Connection, keys: Sequence[Key]) -> Results:
        """For messages with these keys."""
        turns = map(rows.turn_of, statements.by_keys(connection, statements.ANSWERED, keys))
        found = {(turn.question.session, turn.question.id): turn.answer for turn in turns}
        asked = zip(self._page.asks, self._asked, strict=True)
        return {promise: found.get((question.session, question.id)) for question, promise in asked}

    def _run_opens(self, connection: Connection) -> Results:
        opens = self._page.opens
        count = self._driver.open(connection, [rows.of_session(session) for session in opens])
        buried: set[str] = set()
        if count != len(opens):
            ids = [session.id for session in opens]
            buried = {row[0] for row in connection.execute(statements.BURIED, {"ids": ids})}
        if buried:  # one that was being deleted just now may have come in all the same
            connection.execute(statements.DELETE, {"ids": list(buried)})
        opened = zip(opens, self._opened, strict=True)
        return {promise: SessionNotFound() for session, promise in opened if session.id in buried}

    def _run_asks(self, connection: Connection) -> Results:
        questions = self._page.asks
        count = self._driver.ask(connection, [rows.of_question(question) for question in questions])
        self._touch(connection, questions)
        if count != len(questions) and self._doubtful:  # not all are new
            return self._answers(connection, self._doubtful)
        return {}

    def _touch(self, connection: Connection, questions: Sequence[Question]) -> None:
        touched = self._touched
        due = {q.session: q.asked_ms for q in questions if touched.get(q.session, 0) + TOUCH_AFTER <= q.asked_ms}
        if due:
            self._driver.touch(connection, list(due.items()))
            if len(touched) + len(due) > REMEMBERED:
                touched.clear()
            touched.update(due)


def settle(promises: "Iterable[Promise[Any]]", results: Results) -> None:
    """Give the answers."""
    for promise in promises:
        result = results.get(promise)
        try:
            if isinstance(result, Exception):
                promise.bring_error(result)
            else:
                promise.bring(result)
        except Exception:  # of whoever was called back
            log.exception("a caller failed on the answer of the store")


def fail(work: Work, error: Exception) -> None:
    """Give every call this answer."""
    promises = tuple(work.promises)
    settle(promises, dict.fromkeys(promises, error))
