"""What every engine keeps, whoever wrote it. A new one adds a line to `ENGINES`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from shared.messages import GenerationRequest, Params, Turn
from shared.settings import EchoSettings, Settings
from tests.worker.engines.sinks import RecordingSink
from tests.worker.engines.upstream import Answer, Exchange, delta, opened, says, scripted
from worker.engines import echo
from worker.engines.base import Engine, Job, from_generator
from worker.engines.openai import OpenAIEngine

PIECES = 6  # that each reply has here
JOB = Job(
    GenerationRequest((Turn("system", "Be brief."), Turn("user", "Hello, 世界!")), params=Params(temperature=0.0))
)


class GeneratorEngine:
    """The smallest engine that somebody else may write."""

    model = "generator"
    continues = False
    blocks = False
    slots = 4
    first_piece_limit = next_piece_limit = 10.0

    def __init__(self) -> None:
        self.start = from_generator(self._generate)

    async def _generate(self, job: Job) -> AsyncIterator[str]:
        for number in range(PIECES):
            await asyncio.sleep(0.001)
            yield f"{number} {job.request.turns[-1].content}"

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def generator_engine() -> AsyncIterator[Engine]:
    yield GeneratorEngine()


@asynccontextmanager
async def openai_engine() -> AsyncIterator[Engine]:
    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        for number in range(PIECES):
            await exchange.event(delta(f"{number} "))
            await asyncio.sleep(0.001)
        await exchange.event(b"[DONE]")
        await exchange.end()

    answers: list[Answer] = [answer] * 10
    async with scripted(*answers) as upstream, opened(upstream.base_url) as engine:
        yield engine


def echo_engine(**options: float) -> Callable[[], AbstractAsyncContextManager[Engine]]:
    @asynccontextmanager
    async def open_it() -> AsyncIterator[Engine]:
        settings = EchoSettings(**{"chunks": PIECES, "interval": 0.001, **options})  # type: ignore[arg-type]
        engine = echo.open_engine(Settings(echo=settings))
        yield engine
        await engine.close()

    return open_it


ENGINES = {
    "echo": echo_engine(),
    "echo by words": echo_engine(chunks=2, words_per_second=1000.0),
    "openai": openai_engine,
    "generator": generator_engine,
}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with ENGINES[request.param]() as opened_engine:
        yield opened_engine


async def whole(engine: Engine, job: Job = JOB) -> RecordingSink:
    sink = RecordingSink().run(engine, job)
    assert isinstance(await sink.end(), tuple)
    return sink


async def test_a_reply_has_pieces_and_one_end(engine: Engine) -> None:
    sink = await whole(engine)
    await asyncio.sleep(0.01)

    assert len(sink.pieces) >= PIECES
    assert all(sink.pieces)
    assert sink.tokens >= len(sink.pieces)
    assert len(sink.ends) == 1


async def test_replies_at_the_same_time_do_not_mix(engine: Engine) -> None:
    alone = (await whole(engine)).pieces

    together = [RecordingSink().run(engine, JOB) for _ in range(3)]
    for sink in together:
        await sink.end()

    assert [sink.pieces for sink in together] == [alone] * 3


async def test_an_abort_stops_it_at_once_and_without_a_word(engine: Engine) -> None:
    sink = RecordingSink().run(engine, JOB)
    await sink.enough(1)
    sink.abort()
    made = len(sink.pieces)
    sink.abort()
    await asyncio.sleep(0.05)

    assert len(sink.pieces) == made < PIECES
    assert sink.ends == []


async def test_an_abort_touches_no_other_reply(engine: Engine) -> None:
    alone = (await whole(engine)).pieces

    aborted, other = RecordingSink().run(engine, JOB), RecordingSink().run(engine, JOB)
    await aborted.enough(1)
    aborted.abort()
    await other.end()

    assert other.pieces == alone


async def test_an_abort_at_once_or_after_the_end_is_fine(engine: Engine) -> None:
    at_once = RecordingSink().run(engine, JOB)
    at_once.abort()
    made = len(at_once.pieces)
    ended = await whole(engine)
    ended.abort()

    assert len(at_once.pieces) == made
    assert at_once.ends == []
    assert len(ended.ends) == 1


async def test_a_congested_sink_is_waited_for(engine: Engine) -> None:
    alone = (await whole(engine)).pieces

    sink = RecordingSink()
    sink.congested = True
    sink.run(engine, JOB)
    await asyncio.sleep(0.05)
    assert len(sink.pieces) < len(alone)
    assert sink.ends == []
    sink.relax()
    await sink.end()

    assert sink.pieces == alone


async def test_one_that_continues_goes_on_behind_any_piece(engine: Engine) -> None:
    if not engine.continues:
        pytest.skip("starts again")
    alone = (await whole(engine)).pieces

    for stands in range(len(alone) + 1):
        sink = await whole(engine, JOB._replace(text="".join(alone[:stands]), pieces=stands))
        assert sink.pieces == alone[stands:]


async def test_one_that_does_not_starts_again(engine: Engine) -> None:
    if engine.continues:
        pytest.skip("continues")
    alone = (await whole(engine)).pieces

    assert (await whole(engine, JOB)).pieces == alone


async def test_close_ends_what_runs(engine: Engine) -> None:
    if isinstance(engine, GeneratorEngine):
        pytest.skip("leaves that to its caller")
    sink = RecordingSink().run(engine, JOB)
    await sink.enough(1)
    await engine.close()
    made = len(sink.pieces)
    await asyncio.sleep(0.02)

    assert len(sink.pieces) == made
    assert sink.ends == []


async def test_what_the_worker_must_know(engine: Engine) -> None:
    assert engine.model
    assert engine.slots > 0
    assert engine.first_piece_limit > 0
    assert engine.next_piece_limit > 0
