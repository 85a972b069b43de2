"""The SQL in SQLAlchemy's words, for both databases; for PostgreSQL also what is on the path of every message (that of
SQLite is in shared.store.sqlite)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import ClauseElement

from shared.store import rows
from shared.store.schema import sessions, tombstones, turns

MOST_KEYS = 1_000  # in one SELECT
_OPEN: Any = literal_column("'open'")


class Postgresql:
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


def by_keys(connection: Connection, statement: Any, keys: Sequence[tuple[str, str]]) -> list[Any]:
    """The rows of ANSWERED or EXCHANGES."""
    starts = range(0, len(keys), MOST_KEYS)
    return [row for at in starts for row in connection.execute(statement, {"keys": keys[at : at + MOST_KEYS]})]


def _open() -> ClauseElement:
    """Unless it has a tombstone."""
    values = select(*(bindparam(name, type_=sessions.c[name].type) for name in rows.SESSION))
    values = values.where(~exists().where(tombstones.c.id == bindparam("unless")))
    made: ClauseElement = (
        postgresql.insert(sessions)
        .inline()
        .from_select(rows.SESSION, values)
        .on_conflict_do_nothing(index_elements=["id"])
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
