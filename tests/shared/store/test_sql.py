"""The SQL store when things go wrong, and what it makes of many writes."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event

from shared.errors import ChatError, StoreUnavailable
from shared.store import Answer, database, opening, postgresql, sql, sqlite
from shared.store.schema import HEAD, metadata
from shared.store.sql import SqlStore
from tests.contracts.stores import answer, exchange, question, session
from tests.postgres import Cluster


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/chat.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    store = await opening.open_sql(url)
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are not waited for."""
    monkeypatch.setattr(sql, "AGAIN", 0.01)


def count_transactions(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Gets one longer with each."""
    counted: list[None] = []
    transact = store._driver.transact

    async def counting(work: Callable[[Connection], Any]) -> Any:
        counted.append(None)
        return await transact(work)

    monkeypatch.setattr(store._driver, "transact", counting)
    return counted


# --- groups ---------------------------------------------------------------------------------------------------------


async def test_what_comes_together_is_one_transaction(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.open(session())
    transactions = count_transactions(store, monkeypatch)

    await asyncio.gather(*(store.ask(question(f"m{number}"), fresh=True) for number in range(150)))

    assert len(transactions) == 1
    assert len(await store.turns("s")) == 150


async def test_what_comes_meanwhile_is_the_next_one(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.open(session())
    transactions = count_transactions(store, monkeypatch)
    asked: list[asyncio.Future[Answer | None]] = []
    for number in range(50):
        asked.append(store.ask(question(f"m{number}")))
        await asyncio.sleep(0)
    await asyncio.gather(*asked)

    assert len(transactions) < 25


async def test_a_call_that_nobody_can_do_spoils_no_other(store: SqlStore) -> None:
    await store.open(session())

    bad, good = await asyncio.gather(
        store.ask(question("bad", "\ud800")), store.ask(question("good")), return_exceptions=True
    )

    assert isinstance(bad, ChatError)
    assert good is None


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
async def test_a_nul_is_kept_where_the_database_can(url: str, cluster: Cluster, on: str) -> None:
    store = await opening.open_sql(await cluster.fresh() if on == "postgresql" else url)
    await store.open(session())

    await store.ask(question(content="a\0b"))
    await store.answer(answer(text="c\0d"))

    turn = await store.turn("s", "m1")
    assert turn is not None
    assert turn.answer is not None
    kept = {"sqlite": ("a\0b", "c\0d"), "postgresql": ("a\ufffdb", "c\ufffdd")}
    assert (turn.question.content, turn.answer.text) == kept[on]
    await store.close()


async def test_several_processes_share_a_file(store: SqlStore, url: str) -> None:
    other = await opening.open_sql(url)
    await store.open(session())
    await asyncio.gather(*(exchange(one, f"{one is store}-{n}", 7) for n in range(20) for one in (store, other)))

    assert len(await other.turns("s")) == 40
    assert [turn.status for turn in await store.turns("s")] == ["done"] * 40
    await other.close()


# --- away -----------------------------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_there_is(store: SqlStore) -> None:
    pages = 1_000_000

    def limit(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").close()

    assert isinstance(store._driver, sqlite.SqliteDriver)
    event.listen(store._driver._engine, "connect", limit)
    await store.open(session())
    await exchange(store, "m1", 7)
    await store._driver.close()  # the next connection has the limit
    store._driver = sqlite.SqliteDriver(store._driver._engine.url, checked=True)
    event.listen(store._driver._engine, "connect", limit)
    pages = 1

    with pytest.raises(StoreUnavailable):
        await store.ask(question("big", "x" * 1_000_000))
    with pytest.raises(StoreUnavailable):
        await store.ask(question("bigger", "x" * 1_000_000))
    assert [turn.question.id for turn in await store.turns("s")] == ["m1"]

    pages = 1_000_000
    await store._driver.close()
    store._driver = sqlite.SqliteDriver(store._driver._engine.url, checked=True)
    await store.ask(question("big", "x" * 1_000_000))
    assert [turn.question.id for turn in await store.turns("s")] == ["m1", "big"]


async def test_a_file_that_another_process_holds(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAIT", 0.05)
    store = await opening.open_sql(url)
    await store.open(session())
    holder = sqlite3.connect(tmp_path / "chat.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable):
        await store.ask(question())
    with pytest.raises(StoreUnavailable):
        await store.check()

    holder.close()
    await store.check()
    assert await store.ask(question()) is None
    await store.close()


async def test_a_server_that_goes_away_and_comes_back(cluster: Cluster) -> None:
    store = await opening.open_sql(await cluster.fresh())
    await store.open(session())
    confirmed = [store.ask(question(f"m{number}")) for number in range(100)]
    await asyncio.gather(*confirmed)
    cluster.kill()

    with pytest.raises(StoreUnavailable):
        await store.ask(question("lost"))
    with pytest.raises(StoreUnavailable):
        await store.check()
    with pytest.raises(StoreUnavailable):
        await store.turns("s")

    cluster.start()
    await store.check()
    await store.ask(question("again"))
    ids = [turn.question.id for turn in await store.turns("s")]
    assert ids == [*(f"m{number}" for number in range(100)), "again"]
    await store.close()


async def test_a_connection_that_was_lost_is_not_noticed(cluster: Cluster) -> None:
    store = await opening.open_sql(await cluster.fresh())
    await store.open(session())
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    await cluster.execute(others)

    assert await store.ask(question()) is None
    await store.close()


async def test_nothing_is_taken_by_a_store_that_is_closed(store: SqlStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable):
        await store.ask(question())
    with pytest.raises(StoreUnavailable):
        await store.turns("s")


async def test_what_is_under_way_is_finished_when_the_store_is_closed(url: str) -> None:
    store = await opening.open_sql(url)
    opened, asked = store.open(session()), store.ask(question())
    await store.close()

    assert (opened.result(), asked.result()) == (None, None)


# --- the schema -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
async def test_the_migrations_make_what_the_code_expects(url: str, cluster: Cluster, on: str) -> None:
    store = await opening.open_sql(await cluster.fresh() if on == "postgresql" else url)

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await store._call(differences) == []
    await store.close()


async def test_a_database_that_is_newer_than_the_code_is_refused(store: SqlStore, url: str) -> None:
    await store._call(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ValueError, match="newer release"):
        await opening.open_sql(url)


async def test_a_server_without_tables_is_refused_and_the_command_is_named(cluster: Cluster) -> None:
    await cluster.fresh()
    await cluster.execute("DROP DATABASE IF EXISTS bare")
    await cluster.execute("CREATE DATABASE bare")
    bare = cluster.url.replace("/postgres?", "/bare?")

    with pytest.raises(ValueError, match=r"run python -m shared\.store upgrade"):
        await opening.open_sql(bare)

    await opening.make(database.parse(bare))
    store = await opening.open_sql(bare)
    await store.open(session())
    await store.close()


async def test_a_server_that_is_away_is_no_reason_not_to_start(cluster: Cluster) -> None:
    url = await cluster.fresh()
    cluster.kill()
    store = await opening.open_sql(url)
    with pytest.raises(StoreUnavailable):
        await store.open(session())

    cluster.start()
    await store.open(session())
    await store.close()


async def test_a_connection_to_another_schema_is_not_used(cluster: Cluster) -> None:
    store = await opening.open_sql(await cluster.fresh())
    await cluster.execute("UPDATE alembic_version SET version_num = '9999'")
    try:
        with pytest.raises(StoreUnavailable):
            await store.open(session())
    finally:
        await cluster.execute(f"UPDATE alembic_version SET version_num = '{HEAD}'")
        await store.close()


async def test_the_file_is_private(store: SqlStore, tmp_path: Path) -> None:
    await store.open(session())

    modes = {name: os.stat(tmp_path / name).st_mode & 0o777 for name in os.listdir(tmp_path)}
    assert set(modes) >= {"chat.db", "chat.db-wal"}
    assert set(modes.values()) == {0o600}


async def test_a_directory_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ValueError, match="cannot be opened"):
        await opening.open_sql(f"sqlite:///{tmp_path}/file/chat.db")


async def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "chat.db").write_text("something else, and more than a hundred bytes of it" * 4)

    with pytest.raises(ValueError, match="cannot be used: file is not a database"):
        await opening.open_sql(f"sqlite:///{tmp_path}/chat.db")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mysql://me:secret@host/db", "no store is known for 'mysql'"),
        ("me:secret@host", "not the URL of a database"),
        ("sqlite://", "needs a file"),
        ("sqlite+aiosqlite:///:memory:", "needs a file"),
        ("", None),
        ("sqlite:", None),
        ("sqlite:///some/file", None),
        ("postgresql://me:secret@host/db", None),
    ],
)
def test_urls(text: str, sentence: str | None) -> None:
    if sentence is None:
        assert "secret" not in database.shown(database.parse(text))
    else:
        with pytest.raises(ValueError, match=sentence) as caught:
            database.parse(text)
        assert "secret" not in str(caught.value)


def test_what_a_driver_says_loses_its_passwords() -> None:
    assert database.reason(OSError("cannot reach postgresql://me:secret@host/db\nDETAIL")) == (
        "cannot reach postgresql://***@host/db"
    )


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **fields: object) -> None:
        raise ImportError

    monkeypatch.setattr(postgresql, "create_async_engine", missing)
    with pytest.raises(ValueError, match=r"pip install 'llm-chat\[postgres\]'"):
        database.driver(database.parse("postgresql://host/db"))
