"""What every engine keeps, whoever wrote it. A new one adds a line to `ENGINES`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from shared.request import GenerationRequest, Params, Turn
from shared.settings import EchoSettings, Settings
from tests.worker.engines.sinks import RecordingSink
from tests.worker.engines.upstream import Answer, Exchange, delta, opened, scripted
from worker.engines import echo
from worker.engines.base import Engine, Job, from_generator

WHILE = 0.03  # seconds: many times what an engine here takes from piece to piece
JOB = Job(
    GenerationRequest((Turn("system", "Be brief."), Turn("user", "Hello, 世界!")), params=Params(temperature=0.0))
)
ECHOED = "chunk 1: Hello, 世界!\nchunk 2: Hello, 世界!\nchunk 3: Hello, 世界!"
TOLD = ["Once", " upon", " a", " time", ",", " 🐦"]


class GeneratorEngine:
    """The smallest engine that somebody else may write."""

    model = "generator"
    continues = False
    contextual = False
    blocks = False
    slots = 4
    first_piece_limit = next_piece_limit = 10.0

    def __init__(self) -> None:
        self.start = from_generator(self._generate)

    async def _generate(self, job: Job) -> AsyncIterator[str]:
        for text in TOLD:
            await asyncio.sleep(0.001)
            yield text

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def generator_engine() -> AsyncIterator[Engine]:
    yield GeneratorEngine()


def openai_engine(**options: Any) -> Callable[[], AbstractAsyncContextManager[Engine]]:
    async def answer(exchange: Exchange) -> None:
        last = exchange.asked.body["messages"][-1]
        stands = last["content"] if last["role"] == "assistant" else ""
        await exchange.head()
        for place, text in enumerate(TOLD):
            if len("".join(TOLD[:place])) >= len(stands):
                await exchange.event(delta(text))
                await asyncio.sleep(0.001)
        await exchange.event(b"[DONE]")
        await exchange.end()

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Engine]:
        answers: list[Answer] = [answer] * 10
        async with scripted(*answers) as upstream, opened(upstream.base_url, **options) as engine:
            yield engine

    return open_it


def echo_engine(**options: Any) -> Callable[[], AbstractAsyncContextManager[Engine]]:
    @asynccontextmanager
    async def open_it() -> AsyncIterator[Engine]:
        engine = echo.open_engine(Settings(echo=EchoSettings(chunks=3, **options)))
        yield engine
        await engine.close()

    return open_it


class Case(NamedTuple):
    """An engine, and the text it gives to JOB."""

    open: Callable[[], AbstractAsyncContextManager[Engine]]
    text: str
    continues: bool
    closes: bool = True  # whether its close ends what runs; otherwise that is its caller's to do


ENGINES = {
    "echo": Case(echo_engine(interval=0.001), ECHOED, continues=True),
    "echo by words": Case(echo_engine(words_per_second=1000.0), ECHOED, continues=True),
    "echo without a pace": Case(echo_engine(interval=0.0), ECHOED, continues=True),
    "openai": Case(openai_engine(), "".join(TOLD), continues=False),
    "openai that continues": Case(openai_engine(continues=True), "".join(TOLD), continues=True),
    "generator": Case(generator_engine, "".join(TOLD), continues=False, closes=False),
}
CONTINUING = [name for name, case in ENGINES.items() if case.continues]
CLOSING = [name for name, case in ENGINES.items() if case.closes]


@pytest.fixture(params=ENGINES)
def case(request: pytest.FixtureRequest) -> Case:
    return ENGINES[request.param]


@pytest.fixture
async def engine(case: Case) -> AsyncIterator[Engine]:
    async with case.open() as engine:
        yield engine


async def whole(engine: Engine, job: Job = JOB) -> list[str]:
    """The pieces of a reply that nobody disturbs."""
    sink = RecordingSink().run(engine, job)
    end = await sink.end()
    assert isinstance(end, tuple), end
    return sink.pieces


async def begun(engine: Engine) -> RecordingSink:
    """A reply of which a piece is here; more must not come before the sink is relaxed."""
    sink = RecordingSink(room=1).run(engine, JOB)
    await sink.enough(1)
    return sink


async def test_what_the_worker_must_know(engine: Engine, case: Case) -> None:
    assert engine.model
    assert engine.continues == case.continues
    assert engine.slots > 0
    assert engine.first_piece_limit > 0
    assert engine.next_piece_limit > 0


async def test_the_pieces_are_the_text_and_then_it_ends_once(engine: Engine, case: Case) -> None:
    sink = RecordingSink().run(engine, JOB)
    await sink.end()
    await asyncio.sleep(WHILE)

    assert sink.text == case.text
    assert all(sink.pieces)
    assert sink.tokens >= len(sink.pieces) > 1
    assert [end[0] for end in sink.ends if isinstance(end, tuple)] == ["stop"]
    assert len(sink.ends) == 1


async def test_replies_at_the_same_time_do_not_mix(engine: Engine) -> None:
    alone = await whole(engine)

    assert await asyncio.gather(*(whole(engine) for _ in range(3))) == [alone] * 3


async def test_a_congested_sink_is_waited_for(engine: Engine) -> None:
    alone = await whole(engine)

    sink = await begun(engine)
    await asyncio.sleep(WHILE)
    assert sink.ends == []
    sink.relax()
    await sink.end()

    assert sink.pieces == alone


async def test_an_abort_stops_it_at_once_and_without_a_word(engine: Engine) -> None:
    sink = await begun(engine)
    sink.abort()
    made = len(sink.pieces)
    sink.relax()
    sink.abort()
    await asyncio.sleep(WHILE)

    assert len(sink.pieces) == made
    assert sink.ends == []


async def test_an_abort_touches_no_other_reply(engine: Engine) -> None:
    alone = await whole(engine)

    aborted, other = await begun(engine), await begun(engine)
    aborted.abort()
    other.relax()
    await other.end()

    assert other.pieces == alone


async def test_an_abort_before_anything_comes_or_after_the_end_is_fine(engine: Engine, case: Case) -> None:
    early = RecordingSink(room=1).run(engine, JOB)
    early.abort()
    made = len(early.pieces)
    early.relax()
    late = RecordingSink().run(engine, JOB)
    await late.end()
    late.abort()
    await asyncio.sleep(WHILE)

    assert len(early.pieces) == made
    assert early.ends == []
    assert late.text == case.text
    assert len(late.ends) == 1


@pytest.mark.parametrize("case", [ENGINES[name] for name in CONTINUING], ids=CONTINUING)
async def test_one_that_continues_goes_on_behind_any_piece(engine: Engine) -> None:
    alone = await whole(engine)

    for stands in range(len(alone) + 1):
        job = JOB._replace(text="".join(alone[:stands]), pieces=stands)
        assert await whole(engine, job) == alone[stands:]


@pytest.mark.parametrize("case", [ENGINES[name] for name in CLOSING], ids=CLOSING)
async def test_close_ends_what_runs(engine: Engine) -> None:
    sink = await begun(engine)
    await engine.close()
    made = len(sink.pieces)
    sink.relax()
    await asyncio.sleep(WHILE)

    assert len(sink.pieces) == made
    assert sink.ends == []
