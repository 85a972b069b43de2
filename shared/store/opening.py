"""From the settings to a store."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from shared.store import database, versions
from shared.store.sql import SqlStore

T = TypeVar("T")
log = structlog.get_logger("store")


async def open_sql(text: str) -> SqlStore:
    """The store behind a URL. Raises ValueError, with a sentence for the operator, where it cannot be used.

    An SQLite file is made, or brought up to date. A server that is away now is no reason not to start.
    """
    url = database.parse(text)
    if url.drivername == database.DRIVERS["sqlite"]:
        await make(url)
    else:
        await _look(url)
    return SqlStore(database.driver(url))


async def make(url: URL) -> None:
    """Bring the schema up to what this code needs; an SQLite file is made where there is none. Raises ValueError."""
    if url.drivername == database.DRIVERS["sqlite"]:
        database.make_file(url)
        with versions.alone(str(url.database)):
            await _bring_up(url)
    else:
        await _bring_up(url)


async def version(url: URL) -> str | None:
    """Of the schema that is there. Raises ValueError."""
    try:
        return await _once(url, versions.version_of)
    except Exception as error:
        raise _unusable(url, error) from None


async def _bring_up(url: URL) -> None:
    try:
        await _once(url, versions.bring_up)
    except Exception as error:
        raise _unusable(url, error) from None


async def _look(url: URL) -> None:
    try:
        sentence = versions.complaint(await _once(url, versions.version_of))
    except ValueError:
        raise
    except Exception as error:
        log.warning("the database cannot be reached yet", database=database.shown(url), reason=database.reason(error))
        return
    if sentence is not None:
        raise ValueError(sentence)


async def _once(url: URL, work: Callable[[Connection], T]) -> T:
    driver = database.driver(url, checked=False)
    try:
        return await driver.transact(work)
    finally:
        await driver.close()


def _unusable(url: URL, error: Exception) -> ValueError:
    if isinstance(error, ValueError):
        return error
    return ValueError(f"the database {database.shown(url)} cannot be used: {database.reason(error)}")
