"""Which schema a database has, and how it gets the one that this code needs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect

from shared.store.schema import HEAD

COMMAND = "python -m shared.store upgrade"
TABLE = "alembic_version"


def version_of(connection: Connection) -> str | None:
    """None: the database is empty."""
    if not inspect(connection).has_table(TABLE):
        return None
    row = connection.exec_driver_sql(f"SELECT version_num FROM {TABLE}").first()
    return None if row is None else str(row[0])


def complaint(version: str | None) -> str | None:
    """A sentence for the operator; None where all is well."""
    if version == HEAD:
        return None
    if version is None or version < HEAD:
        return f"the database needs its tables made or changed: run {COMMAND}"
    return f"the database was changed by a newer release (it has {version}, this one knows {HEAD})"


def upgrade(connection: Connection) -> None:
    """Bring the schema up to HEAD. The caller commits."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def bring_up(connection: Connection) -> None:
    """Upgrade where that is due. Raises ValueError where the database is newer than this code."""
    version = version_of(connection)
    if version is None or version < HEAD:
        upgrade(connection)
    elif sentence := complaint(version):
        raise ValueError(sentence)


@contextmanager
def alone(file: str) -> Iterator[None]:
    """Several processes may start at the same time: one of them makes the tables, the others wait for it."""
    descriptor = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
