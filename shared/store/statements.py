"""The SQL that both databases understand, in SQLAlchemy's words. What is on the path of every message is in
shared.store.sqlite and shared.store.postgresql."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from shared.store import rows
from shared.store.schema import sessions, tombstones, turns

MOST_KEYS = 1_000  # in one SELECT


def by_keys(connection: Connection, statement: Any, keys: Sequence[tuple[str, str]]) -> list[Any]:
    """The rows of ANSWERED."""
    starts = range(0, len(keys), MOST_KEYS)
    return [row for at in starts for row in connection.execute(statement, {"keys": keys[at : at + MOST_KEYS]})]


_TURN = [turns.c[name] for name in rows.TURN]
_SESSION = [sessions.c[name] for name in rows.SESSION]

ANSWERED = select(*_TURN).where(
    tuple_(turns.c.session, turns.c.id).in_(bindparam("keys", expanding=True)), turns.c.status != "open"
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
CONTEXT = (
    select(turns.c.generation, turns.c.content, turns.c.text)
    .where(
        turns.c.session == bindparam("of"),
        turns.c.id != bindparam("but"),
        turns.c.generation < bindparam("below"),
        turns.c.status == "done",
        turns.c.text != "",
    )
    .order_by(turns.c.generation.desc())
    .limit(bindparam("limit"))
)
ONE_TURN = select(*_TURN).where(turns.c.session == bindparam("of"), turns.c.id == bindparam("which"))
RENAME = update(sessions).where(sessions.c.id == bindparam("which")).values(title=bindparam("new"))
ANNOTATE = (
    update(turns)
    .where(turns.c.session == bindparam("of"), turns.c.id == bindparam("which"))
    .values(meta=bindparam("new"))
)
