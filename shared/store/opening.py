"""From the settings to a store."""

import structlog
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.store import database, versions
from shared.store.sql import SqlStore

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
    return SqlStore(database.connect(url))


async def make(url: URL) -> None:
    """An SQLite database with the schema that this code needs. Raises ValueError."""
    database.make_file(url)
    engine = database.connect(url)
    try:
        with versions.alone(str(url.database)):
            await versions.bring_up(engine)
    except Exception as error:
        raise _unusable(url, error) from None
    finally:
        await engine.dispose()


async def _look(url: URL) -> None:
    engine = database.connect(url)
    try:
        sentence = versions.complaint(await version(engine))
    except Exception as error:
        log.warning("the database cannot be reached yet", database=database.shown(url), reason=database.reason(error))
        return
    finally:
        await engine.dispose()
    if sentence is not None:
        raise ValueError(sentence)


async def version(engine: AsyncEngine) -> str | None:
    """Of the schema that is there."""
    async with engine.connect() as connection:
        return await connection.run_sync(versions.version_of)


def _unusable(url: URL, error: Exception) -> ValueError:
    if isinstance(error, ValueError):
        return error
    return ValueError(f"the database {database.shown(url)} cannot be used: {database.reason(error)}")
