"""The journal of an SQLite store: what is in it counts as stored, whoever wrote it, and gets to its place."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.store import Question, filing, journal, opening
from shared.store.sql import SqlStore
from tests.contracts.stores import answer, exchange, question, session


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqlStore]:
    store = await opening.open_sql(f"sqlite:///{file}")
    await store.open(session())
    await store.turns("s")  # so that the journal is empty
    yield store
    await store.close()


@pytest.fixture
async def other(file: Path, store: SqlStore) -> AsyncIterator[SqlStore]:
    """Another process's."""
    other = await opening.open_sql(f"sqlite:///{file}")
    yield other
    await other.close()


def rows(file: Path, sql: str) -> list[Any]:
    with sqlite3.connect(file) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


def count(file: Path, table: str) -> int:
    number: int = rows(file, f"SELECT count(*) FROM {table}")[0][0]
    return number


async def until_filed(file: Path) -> None:
    async with asyncio.timeout(10):
        while count(file, "journal"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_group_is_one_row(store: SqlStore, file: Path) -> None:
    await asyncio.gather(*(store.ask(question(f"m{number}"), fresh=True) for number in range(100)))

    assert (count(file, "journal"), count(file, "turns")) == (1, 0)

    assert len(await store.turns("s")) == 100
    assert (count(file, "journal"), count(file, "turns")) == (0, 100)


async def test_another_process_reads_what_is_in_the_journal(store: SqlStore, other: SqlStore) -> None:
    await store.ask(question(), fresh=True)
    await store.answer(answer())

    assert [turn.answer for turn in await other.turns("s")] == [answer()]
    assert await other.ask(question()) == answer()


async def test_a_message_that_may_have_been_answered_is_looked_for_in_the_journal_too(
    store: SqlStore, other: SqlStore
) -> None:
    await exchange(other, "m1", 7)

    assert await store.ask(question()) is not None


async def test_it_is_filed_when_there_is_time(store: SqlStore, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "REST", 0.01)
    await store.ask(question(), fresh=True)

    await until_filed(file)
    assert count(file, "turns") == 1


async def test_it_is_filed_under_load_too(store: SqlStore, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "LATEST", 0.05)
    number = 0

    async with asyncio.timeout(10):
        while not count(file, "turns"):
            number += 1
            await store.ask(question(f"m{number}"), fresh=True)

    assert len(await store.turns("s")) == number


async def test_closing_files_it(file: Path) -> None:
    store = await opening.open_sql(f"sqlite:///{file}")
    await store.open(session())
    await store.ask(question(), fresh=True)
    await store.close()

    assert (count(file, "journal"), count(file, "turns")) == (0, 1)


async def test_what_a_process_left_is_filed_by_the_next_one(
    store: SqlStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.ask(question(), fresh=True)
    monkeypatch.setattr(filing, "REST", 0.01)
    next = await opening.open_sql(f"sqlite:///{file}")

    await until_filed(file)
    await next.close()


async def test_more_than_one_transaction_holds(store: SqlStore, file: Path) -> None:
    for number in range(4):
        await store.ask(question(f"m{number}", "x" * 600_000), fresh=True)
    assert count(file, "journal") == 4

    assert len(await store.turns("s")) == 4


async def test_what_was_taken_back_may_come_again(store: SqlStore, file: Path) -> None:
    await store.ask(question(content="first"), fresh=True)
    await store.withdraw("s", "m1")
    await store.ask(question(content="second"), fresh=True)
    assert count(file, "journal") == 3

    assert [turn.question.content for turn in await store.turns("s")] == ["second"]


async def test_a_deleted_session_takes_along_what_is_in_the_journal(
    store: SqlStore, other: SqlStore, file: Path
) -> None:
    await store.ask(question(), fresh=True)
    await other.delete("s")
    await store.ask(question("m2"), fresh=True)
    await store.open(session())
    await store.answer(answer())

    assert (await store.sessions("me", 10)).sessions == []
    assert [count(file, table) for table in ("journal", "sessions", "turns", "tombstones")] == [0, 0, 0, 1]


async def test_the_newest_message_makes_the_session_new(store: SqlStore) -> None:
    await store.open(session("t", at=100))
    await store.ask(question(at=300), fresh=True)
    await store.ask(question("m2", at=200), fresh=True)

    assert [found.id for found in (await store.sessions("me", 10)).sessions] == ["s", "t"]


async def test_a_page_that_cannot_be_read_is_put_aside(store: SqlStore, file: Path) -> None:
    await store.ask(question("m1"), fresh=True)
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO journal (body) VALUES (?)", (b"\xc1 nonsense",))
    connection.close()
    await store.ask(question("m2"), fresh=True)

    assert [turn.question.id for turn in await store.turns("s")] == ["m1", "m2"]
    assert rows(file, "SELECT number < 0 FROM journal") == [(1,)]
    await store.ask(question("m3"), fresh=True)
    assert len(await store.turns("s")) == 3


async def test_what_cannot_be_filed_spoils_nothing_else(store: SqlStore, file: Path) -> None:
    impossible = Question("s", "bad", "Hello", asked_ms=1 << 63)  # no column of SQLite's holds that
    await asyncio.gather(store.ask(question("good"), fresh=True), store.ask(impossible, fresh=True))

    assert [turn.question.id for turn in await store.turns("s")] == ["good"]
    assert count(file, "journal") == 0


async def test_a_journal_that_cannot_be_filed_holds_up_no_message(
    store: SqlStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise KeyError("a defect")

    monkeypatch.setattr(journal, "file", fail)
    monkeypatch.setattr(filing, "REST", 0.0)
    for number in range(5):
        assert await store.ask(question(f"m{number}"), fresh=True) is None

    monkeypatch.undo()
    assert len(await store.turns("s")) == 5
