"""The SQL, made once per database. What is on the path of every message is compiled to the driver's own form, with
tuples as parameters."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Dialect, bindparam, delete, exists, insert, literal_column, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from shared.store import rows
from shared.store.schema import sessions, tombstones, turns

_OPEN: Any = literal_column("'open'")


class Driver:
    """A statement for many tuples, whose order is that of `names`."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        placed: Any = compiled.positiontup  # type: ignore[attr-defined]
        assert placed == list(names), (placed, names)


class Statements:
    """Those of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.postgresql = dialect.name == "postgresql"
        self.open = Driver(_open(self.postgresql), dialect, [*rows.SESSION, "unless"])
        self.ask = Driver(_ask(self.postgresql), dialect, rows.QUESTION)
        self.touch = Driver(_touch(), dialect, ["now", "which", "before"])
        self.answer = Driver(_answer(), dialect, [*rows.ANSWER, "of", "which", "above", "same", "least"])
        self.withdraw = Driver(_withdraw(), dialect, ["of", "which"])


def _insert(table: Any, in_postgresql: bool) -> Any:
    return (postgresql.insert(table) if in_postgresql else sqlite.insert(table)).inline()


def _open(in_postgresql: bool) -> ClauseElement:
    """Unless it has a tombstone."""
    values = select(*(bindparam(name, type_=sessions.c[name].type) for name in rows.SESSION))
    values = values.where(~exists().where(tombstones.c.id == bindparam("unless")))
    made: ClauseElement = (
        _insert(sessions, in_postgresql).from_select(rows.SESSION, values).on_conflict_do_nothing(index_elements=["id"])
    )
    return made


def _ask(in_postgresql: bool) -> ClauseElement:
    values = {name: bindparam(name, type_=turns.c[name].type) for name in rows.QUESTION}
    made: ClauseElement = (
        _insert(turns, in_postgresql).values(values).on_conflict_do_nothing(index_elements=["session", "id"])
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
        turns.c.session == bindparam("of"), turns.c.id == bindparam("which"), turns.c.status == _OPEN
    )


# --- those that are not hot: SQLAlchemy caches them -----------------------------------------------------------------

_TURN = [turns.c[name] for name in rows.TURN]
_SESSION = [sessions.c[name] for name in rows.SESSION]

ANSWERED = select(*_TURN).where(
    tuple_(turns.c.session, turns.c.id).in_(bindparam("keys", expanding=True)), turns.c.status != "open"
)
EXCHANGES = select(turns.c.session, turns.c.id, turns.c.generation, turns.c.content, turns.c.text).where(
    tuple_(turns.c.session, turns.c.id).in_(bindparam("keys", expanding=True)),
    turns.c.status == "done",
    turns.c.text != "",
)
BURIED = select(tombstones.c.id).where(tombstones.c.id.in_(bindparam("ids", expanding=True)))
BURY = insert(tombstones)
EXHUME = delete(tombstones).where(tombstones.c.id == bindparam("id"))
DELETE = delete(sessions).where(sessions.c.id.in_(bindparam("ids", expanding=True)))
SESSION = select(*_SESSION).where(sessions.c.id == bindparam("id"))
SESSIONS = (
    select(*_SESSION)
    .where(
        sessions.c.owner == bindparam("owner"),
        tuple_(sessions.c.updated_ms, sessions.c.id)
        < tuple_(bindparam("updated_ms", type_=sessions.c.updated_ms.type), bindparam("id", type_=sessions.c.id.type)),
    )
    .order_by(sessions.c.updated_ms.desc(), sessions.c.id.desc())
    .limit(bindparam("limit"))
)
TURNS = (
    select(*_TURN)
    .where(
        turns.c.session == bindparam("of"),
        or_(turns.c.generation > bindparam("after"), turns.c.status == "open"),
    )
    .order_by(turns.c.status == "open", turns.c.generation, turns.c.number)
)
ONE_TURN = select(*_TURN).where(turns.c.session == bindparam("of"), turns.c.id == bindparam("which"))
RENAME = update(sessions).where(sessions.c.id == bindparam("which")).values(title=bindparam("new"))
ANNOTATE = (
    update(turns)
    .where(turns.c.session == bindparam("of"), turns.c.id == bindparam("which"))
    .values(meta=bindparam("new"))
)
