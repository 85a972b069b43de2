"""Engines that read a conversation get it from the store; others wait for nothing."""

from typing import Any

import pytest

from shared.errors import StoreUnavailable
from shared.request import GenerationRequest, Turn
from tests.contracts.stores import exchange, question, session
from tests.memory_store import MemoryStore
from tests.worker.engines.sinks import RecordingSink
from tests.worker.fakes import HandEngine, turns
from worker import recall
from worker.engines.base import Job
from worker.recall import Recall

SYSTEM = Turn("system", "Be brief.")
REQUEST = GenerationRequest((SYSTEM, Turn("user", "three")), stored=True, room=1000)
JOB = Job(REQUEST, session="s", id="m3")


class Reader(HandEngine):
    contextual = True


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.open(session())
    await exchange(store, "m1", 1, text="1!")
    await exchange(store, "m2", 2, text="2!")
    await store.ask(question("m3", "three"))
    return store


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "AGAIN", 0.001)
    monkeypatch.setattr(recall, "LONGEST", 0.02)


def contents(engine: HandEngine) -> list[str]:
    return [turn.content for turn in engine.jobs[0].request.turns]


async def test_earlier_turns_go_behind_the_system_prompt(store: MemoryStore) -> None:
    engine, sink = Reader(), RecordingSink()
    Recall(engine, store).start(JOB, sink)
    await turns()

    assert contents(engine) == ["Be brief.", "Hello m1", "1!", "Hello m2", "2!", "three"]
    assert [turn.role for turn in engine.jobs[0].request.turns][1:3] == ["user", "assistant"]
    assert sink.prompts == [(9 + 8 + 2 + 8 + 2 + 5 + 3) // 4]


async def test_only_so_much_as_there_is_room_for(store: MemoryStore) -> None:
    engine = Reader()
    job = JOB._replace(request=GenerationRequest(REQUEST.turns[1:], stored=True, room=10))
    Recall(engine, store).start(job, RecordingSink())
    await turns()

    assert contents(engine) == ["Hello m2", "2!", "three"]


@pytest.mark.parametrize(
    ("engine", "request_"), [(HandEngine(), REQUEST), (Reader(), GenerationRequest(REQUEST.turns, stored=True))]
)
async def test_whoever_needs_nothing_waits_for_nothing(
    store: MemoryStore, engine: HandEngine, request_: GenerationRequest
) -> None:
    Recall(engine, store).start(Job(request_), RecordingSink())

    assert contents(engine) == ["Be brief.", "three"]
    assert "context" not in store.calls


async def test_an_abort_before_the_engine_has_begun(store: MemoryStore) -> None:
    engine, sink = Reader(), RecordingSink()
    Recall(engine, store).start(JOB, sink)()
    await turns()

    assert engine.jobs == []
    assert sink.ends == []


async def test_an_abort_behind_that_is_the_engines(store: MemoryStore) -> None:
    engine = Reader()
    abort = Recall(engine, store).start(JOB, RecordingSink())
    await turns()
    abort()
    abort()

    assert engine.aborted == [0, 0]


async def test_a_store_that_comes_back_soon(store: MemoryStore) -> None:
    engine, sink = Reader(), RecordingSink()
    store.away = True
    Recall(engine, store).start(JOB, sink)
    await turns()
    store.away = False
    while not engine.jobs:
        await turns()

    assert sink.ends == []


async def test_a_store_that_stays_away(store: MemoryStore) -> None:
    engine, sink = Reader(), RecordingSink()
    store.away = True
    Recall(engine, store).start(JOB, sink)

    assert isinstance(await sink.end(), StoreUnavailable)
    assert engine.jobs == []


async def test_a_worker_without_a_store_says_so() -> None:
    with pytest.raises(StoreUnavailable):
        Recall(Reader(), None).start(JOB, RecordingSink())


async def test_an_engine_that_cannot_start_ends_the_reply(store: MemoryStore) -> None:
    def fail() -> Any:
        raise StoreUnavailable

    engine, sink = Reader(), RecordingSink()
    engine.on_start = fail
    Recall(engine, store).start(JOB, sink)

    assert isinstance(await sink.end(), StoreUnavailable)
