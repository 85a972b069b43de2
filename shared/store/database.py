"""The database behind a URL, and what its drivers raise in our words."""

import os
import re
import sqlite3
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from shared.store.drivers import Driver

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
DEFAULT = "sqlite:"
FORMS = "LLM_CHAT_DATABASE_URL may be none, sqlite:, sqlite+aiosqlite:///file or postgresql+asyncpg://user:password@host/name"


def parse(text: str) -> URL:
    """Raises ValueError, with a sentence that does not hold the password."""
    if text in ("", DEFAULT):
        return URL.create(DRIVERS["sqlite"], database=str(Path.home() / ".llm-chat" / "llm-chat.db"))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"this is not the URL of a database: {FORMS}") from None
    driver = DRIVERS.get(url.drivername, url.drivername)
    if driver not in DRIVERS.values():
        raise ValueError(f"no store is known for {url.drivername!r}: {FORMS}")
    if driver == DRIVERS["sqlite"] and url.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file here, which all processes share, as in sqlite+aiosqlite:///some/file")
    return url.set(drivername=driver)


def shown(url: URL) -> str:
    """For logs and sentences: without the password."""
    return url.render_as_string(hide_password=True)


def driver(url: URL, *, checked: bool = True) -> Driver:
    """It connects when it is used, and is content only with the schema that this code needs, unless it is not
    `checked`. Raises ValueError where it is not installed."""
    if url.drivername == DRIVERS["sqlite"]:
        from shared.store.sqlite import SqliteDriver

        return SqliteDriver(url, checked=checked)
    from shared.store.postgresql import PostgresqlDriver

    try:
        return PostgresqlDriver(url, checked=checked)
    except ImportError:
        raise ValueError("PostgreSQL needs a driver that is not installed: pip install 'llm-chat[postgres]'") from None


def make_file(url: URL) -> None:
    """The file of an SQLite database and its directory, for their owner only. Raises ValueError."""
    path = Path(url.database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's other files get its mode
    except OSError as error:
        raise ValueError(f"the database {path} cannot be opened: {error.strerror}") from None


def is_the_callers_fault(error: BaseException) -> bool:
    """Whether the database works, but will not have this: then it is of no use to try again."""
    if isinstance(error, DBAPIError | sqlite3.Error):
        return isinstance(error, IntegrityError | DataError | sqlite3.IntegrityError | sqlite3.DataError)
    return not isinstance(error, SQLAlchemyError | OSError | TimeoutError)


def is_missing(error: BaseException) -> bool:
    """Whether what a row refers to is not there."""
    return isinstance(error, IntegrityError | sqlite3.IntegrityError)


def reason(error: BaseException) -> str:
    """What a driver says, in one line, without statements, values or passwords."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = str(cause).strip().splitlines()
    return re.sub(r"://[^@\s]*@", "://***@", text[0][:200]) if text else type(cause).__name__
