"""The tables: one schema for SQLite and PostgreSQL. Made by the migrations; here for the statements.

A message and the generation that answers it are one row: the id of a message never runs twice, so each has one answer.
Besides that row only one leaf of one index is written per turn.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

HEAD = "0002"  # the newest migration; what this code needs

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("system", Text),
    Column("model", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("meta", Text),  # JSON
    Index("sessions_of_owner", "owner", "updated_ms", "id"),
)

tombstones = Table(  # of deleted sessions: nothing but their ids
    "tombstones",
    metadata,
    Column("id", Text, primary_key=True),
)

turns = Table(
    "turns",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("session", Text, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("id", Text, nullable=False),  # the client's own
    Column("content", Text, nullable=False),
    Column("model", Text),  # that was asked for
    Column("params", Text),  # JSON
    Column("asked_ms", BigInteger, nullable=False),
    Column("meta", Text),  # JSON
    Column("generation", BigInteger, nullable=False, server_default=text("0")),  # 0: open
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("status", Text, nullable=False, server_default=text("'open'")),  # open, done, error
    Column("reason", Text),  # of done: stop, length, cancelled; of error: its code
    Column("text", Text),
    Column("text_sha256", Text),
    Column("answered_by", Text),  # the model
    Column("ended_ms", BigInteger),
    Column("details", Text),  # JSON: usage, timing, receipt, or message; where the terminal stands
    UniqueConstraint("session", "id", name="turns_of_session"),
)

journal = Table(  # what is on its way into the others: shared.store.journal
    "journal",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # numbers only grow: what is put aside must not be where new ones begin
)
