"""What goes into one transaction: all writes that came while the last one was under way.

A group writes in the order open, ask, answer, withdraw; `takes` says whether the next write may join without being done
before one that was started earlier.
"""

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection

from shared.errors import ChatError, SessionNotFound
from shared.store import rows, statements
from shared.store.drivers import Driver, Key
from shared.store.records import Answer, Asked, Exchange, Question, StoredSession

MOST = 1_000  # writes in one transaction: others wait for it, in other processes too
TOUCH_AFTER = 10_000  # ms: a session's `updated_ms` is written again when it is older than that
REMEMBERED = 20_000  # sessions of which we know when that was

T = TypeVar("T")


class Settled(NamedTuple):
    """The answer to one call; an error or a result."""

    future: "Future[Any]"
    result: Any


class Work(Protocol):
    """Something that is done in one transaction."""

    urgent: bool  # it waits for no others

    def run(self, connection: Connection) -> list[Settled]:
        """Do it; the answers are given behind the commit. May be run again where its fate is unknown."""
        ...

    def parts(self) -> Sequence["Work"]:
        """The same in as many transactions as there are calls, for where one of them spoils it for all."""
        ...

    def fail(self, error: BaseException) -> None:
        """Give every call this answer."""
        ...


class Call(Generic[T]):
    """Anything that is not grouped."""

    urgent = True

    def __init__(self, work: Callable[[Connection], T], future: "Future[T]") -> None:
        self._work = work
        self._future = future

    def run(self, connection: Connection) -> list[Settled]:
        """See Work."""
        try:
            return [Settled(self._future, self._work(connection))]
        except ChatError as error:
            return [Settled(self._future, error)]

    def parts(self) -> Sequence[Work]:
        """See Work."""
        return ()

    def fail(self, error: BaseException) -> None:
        """See Work."""
        settle([Settled(self._future, error)])


class Group:
    """Writes, each with the future that waits for it. `touched`: when a session's `updated_ms` was last written."""

    urgent = False

    def __init__(self, driver: Driver, touched: dict[str, int]) -> None:
        self._driver = driver
        self._touched = touched
        self._opens: list[tuple[StoredSession, Future[None]]] = []
        self._asks: list[tuple[Question, Sequence[str], Future[Asked]]] = []
        self._answers: list[tuple[Answer, Future[None]]] = []
        self._withdrawals: list[tuple[Key, Future[None]]] = []

    @property
    def full(self) -> bool:
        """Whether the next write needs another one."""
        return len(self._asks) + len(self._answers) + len(self._opens) >= MOST

    @property
    def takes_questions(self) -> bool:
        """Whether an `open` or an `ask` may join."""
        return not (self._answers or self._withdrawals or self.full)

    @property
    def takes_answers(self) -> bool:
        """Whether an `answer` may join."""
        return not (self._withdrawals or self.full)

    def open(self, session: StoredSession, future: "Future[None]") -> None:
        """Join."""
        self._opens.append((session, future))

    def ask(self, question: Question, lacks: Sequence[str], future: "Future[Asked]") -> None:
        """Join."""
        self._asks.append((question, lacks, future))

    def answer(self, answer: Answer, future: "Future[None]") -> None:
        """Join."""
        self._answers.append((answer, future))

    def withdraw(self, key: Key, future: "Future[None]") -> None:
        """Join."""
        self._withdrawals.append((key, future))

    # --- Work --------------------------------------------------------------------------------------------------------

    def run(self, connection: Connection) -> list[Settled]:
        """See Work."""
        settled: list[Settled] = []
        if self._opens:
            settled += self._run_opens(connection)
        if self._asks:
            settled += self._run_asks(connection)
        if self._answers:
            self._driver.answer(connection, _newest([answer for answer, _ in self._answers]))
            settled += [Settled(future, None) for _, future in self._answers]
        if self._withdrawals:
            self._driver.withdraw(connection, [key for key, _ in self._withdrawals])
            settled += [Settled(future, None) for _, future in self._withdrawals]
        return settled

    def parts(self) -> Sequence[Work]:
        """See Work."""
        parts: list[Group] = []

        def part() -> Group:
            parts.append(Group(self._driver, self._touched))
            return parts[-1]

        for session, opened in self._opens:
            part().open(session, opened)
        for question, lacks, asked in self._asks:
            part().ask(question, lacks, asked)
        for answer, answered in self._answers:
            part().answer(answer, answered)
        for key, withdrawn in self._withdrawals:
            part().withdraw(key, withdrawn)
        return parts if len(parts) > 1 else ()

    def fail(self, error: BaseException) -> None:
        """See Work."""
        for group in (self._opens, self._asks, self._answers, self._withdrawals):
            settle(Settled(entry[-1], error) for entry in group)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _run_opens(self, connection: Connection) -> list[Settled]:
        count = self._driver.open(connection, [rows.of_session(session) for session, _ in self._opens])
        buried: set[str] = set()
        if count != len(self._opens):
            ids = [session.id for session, _ in self._opens]
            buried = {row[0] for row in connection.execute(statements.BURIED, {"ids": ids})}
        if buried:  # one that was being deleted just now may have come in all the same
            connection.execute(statements.DELETE, {"ids": list(buried)})
        return [Settled(future, SessionNotFound() if session.id in buried else None) for session, future in self._opens]

    def _run_asks(self, connection: Connection) -> list[Settled]:
        questions = [question for question, _, _ in self._asks]
        count = self._driver.ask(connection, [rows.of_question(question) for question in questions])
        self._touch(connection, questions)
        answers: dict[Key, Answer | None] = {}
        if count != len(questions):  # not all are new
            answers = _answered(connection, [(question.session, question.id) for question in questions])
        lacked = [(question.session, id) for question, lacks, _ in self._asks for id in lacks]
        found = self._driver.exchanges(connection, lacked) if lacked else ()
        exchanges = {(row[0], row[1]): Exchange(*row[1:]) for row in found}
        return [
            Settled(future, Asked(answers.get((question.session, question.id)), _of(question, lacks, exchanges)))
            for question, lacks, future in self._asks
        ]

    def _touch(self, connection: Connection, questions: Sequence[Question]) -> None:
        touched = self._touched
        due = {q.session: q.asked_ms for q in questions if touched.get(q.session, 0) + TOUCH_AFTER <= q.asked_ms}
        if due:
            self._driver.touch(connection, list(due.items()))
            if len(touched) + len(due) > REMEMBERED:
                touched.clear()
            touched.update(due)


def settle(settled: Iterable[Settled]) -> None:
    """Give the answers."""
    for future, result in settled:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
            future.exception()  # whoever needs no answer need not look at it
        else:
            future.set_result(result)


def _newest(answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    """Rows, each key once; of the same attempt the last one stands."""
    newest: dict[Key, Answer] = {}
    for answer in answers:
        key = (answer.session, answer.id)
        other = newest.get(key)
        if other is None or (other.generation, other.attempt) <= (answer.generation, answer.attempt):
            newest[key] = answer
    return [(*key, *rows.of_answer(answer)) for key, answer in newest.items()]


def _answered(connection: Connection, keys: Sequence[Key]) -> dict[Key, Answer | None]:
    found = (rows.turn_of(row) for row in statements.by_keys(connection, statements.ANSWERED, keys))
    return {(turn.question.session, turn.question.id): turn.answer for turn in found}


def _of(question: Question, lacks: Sequence[str], found: dict[Key, Exchange]) -> Sequence[Exchange]:
    if not lacks:
        return ()
    exchanges = [found[question.session, id] for id in lacks if (question.session, id) in found]
    return sorted(exchanges, key=lambda exchange: exchange.generation)
