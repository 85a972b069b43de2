"""The echo engine: its text, its pace, and that it goes on exactly."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ChatError
from shared.messages import Usage
from shared.request import GenerationRequest, Turn
from shared.settings import EchoSettings, Settings
from tests.conftest import FakeClock
from worker.engines.base import Engine, Job
from worker.engines.echo import SLICE, Chunks, EchoEngine, Script, Words, open_engine

REPLY = "chunk 1: Hello\nchunk 2: Hello\nchunk 3: Hello\nchunk 4: Hello\nchunk 5: Hello"
MESSAGES = st.text(st.sampled_from("ab \n\t\u2003é"), min_size=1, max_size=12)


class Sink:
    """Keeps what it gets; is congested while `room` is used up."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.pieces: list[str] = []
        self.ends: list[object] = []
        self.room = room
        self.relieved = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def congested(self) -> bool:
        return len(self.pieces) >= self.room

    async def relief(self) -> None:
        while self.congested:
            self.relieved.clear()
            await self.relieved.wait()

    def prompt(self, tokens: int) -> None:
        raise AssertionError

    def restart(self) -> None:
        raise AssertionError("echo goes on behind anything")

    def piece(self, text: str, tokens: int = 1) -> None:
        assert not self.ends
        self.pieces.append(text)

    def finish(self, reason: str, usage: Usage | None = None) -> None:
        self.ends.append(reason)
        self.ended.set()

    def fail(self, error: ChatError) -> None:
        self.ends.append(error)


class Scene:
    """An engine, time that the test lets pass, and a reply."""

    def __init__(self, interval: float, chunks: int = 5, script: Callable[[str, int], Script] = Chunks) -> None:
        self.clock = FakeClock()
        self.engine = EchoEngine(script, chunks, interval, self.clock)

    def start(self, message: str = "Hello", pieces: int = 0, room: int = 1 << 30) -> Sink:
        sink = Sink(room)
        job = Job(
            GenerationRequest((Turn("user", "before"), Turn("assistant", "x"), Turn("user", message))), "", pieces
        )
        self.abort = self.engine.start(job, sink)
        return sink

    def wait(self, seconds: float) -> None:
        assert self.engine.wheel is not None
        for _ in range(round(seconds / 0.001)):
            self.clock.advance(0.001)
            self.engine.wheel.turn()


async def test_the_first_piece_comes_at_once_the_others_at_their_time() -> None:
    scene = Scene(0.2)
    sink = scene.start()
    assert sink.pieces == ["chunk 1: Hello"]
    counts = []
    for _ in range(700):
        scene.wait(0.001)
        counts.append(len(sink.pieces))
    arrivals = [counts.index(number) + 1 for number in (2, 3, 4)]  # milliseconds
    assert all(0 <= arrival - 200 * number <= 6 for number, arrival in enumerate(arrivals, 1))


async def test_the_end_comes_with_the_last_piece() -> None:
    scene = Scene(0.05)
    sink = scene.start()
    while not sink.ends:
        assert len(sink.pieces) < 5
        scene.wait(0.001)
    assert "".join(sink.pieces) == REPLY
    assert [piece[:7] for piece in sink.pieces[1:]] == ["\nchunk "] * 4
    assert sink.ends == ["stop"]


async def test_without_a_pace_all_comes_at_once() -> None:
    sink = Scene(0).start()
    assert "".join(sink.pieces) == REPLY
    assert sink.ends == ["stop"]


async def test_a_reply_of_one_chunk() -> None:
    sink = Scene(0.2, chunks=1).start()
    assert (sink.pieces, sink.ends) == (["chunk 1: Hello"], ["stop"])


@given(MESSAGES, st.integers(1, 12))
def test_words_give_the_same_text_as_chunks(message: str, chunks: int) -> None:
    scripts = [make(message, chunks) for make in (Chunks, Words)]
    texts = ["".join(script.piece(number) for number in range(script.length)) for script in scripts]
    assert texts[0] == texts[1] == "\n".join(f"chunk {number}: {message}" for number in range(1, chunks + 1))


@given(MESSAGES, st.integers(1, 4))
def test_a_word_is_a_word(message: str, chunks: int) -> None:
    words = Words(message, chunks)
    assert all(len(words.piece(number).split()) == 1 for number in range(words.length))
    assert words.length == chunks * (2 + len(message.split()))


@pytest.mark.parametrize("script", [Chunks, Words])
async def test_it_goes_on_behind_every_prefix(script: Callable[[str, int], Script]) -> None:
    scene = Scene(0, script=script)
    whole = scene.start("Hello, my  friend").pieces
    for stands in range(len(whole) + 1):
        sink = scene.start("Hello, my  friend", pieces=stands)
        assert sink.pieces == whole[stands:]
        assert sink.ends == ["stop"]


async def test_abort_ends_it_at_once() -> None:
    scene = Scene(0.05)
    sink = scene.start()
    scene.abort()
    scene.abort()
    scene.wait(0.5)
    assert len(sink.pieces) == 1
    assert not sink.ends


async def test_many_pieces_without_a_pace_leave_the_loop_alive() -> None:
    scene = Scene(0, chunks=SLICE * 3)
    sink = scene.start()
    assert len(sink.pieces) == SLICE
    while not sink.ends:
        before = len(sink.pieces)
        await asyncio.sleep(0)
        assert len(sink.pieces) - before <= SLICE
    assert len(sink.pieces) == SLICE * 3
    await scene.engine.close()


async def test_a_congested_sink_is_waited_for_without_a_pace() -> None:
    scene = Scene(0, chunks=SLICE * 3)
    sink = scene.start(room=SLICE + 10)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(sink.pieces) == SLICE + 10
    sink.room = 1 << 30
    sink.relieved.set()
    await asyncio.wait_for(sink.ended.wait(), 1)
    assert len(sink.pieces) == SLICE * 3
    await scene.engine.close()


async def test_a_congested_sink_is_waited_for_at_a_pace() -> None:
    scene = Scene(0.05)
    sink = scene.start(room=2)
    scene.wait(0.3)
    assert len(sink.pieces) == 2
    sink.room = 9
    scene.wait(0.3)
    assert "".join(sink.pieces) == REPLY


async def test_closing_ends_all() -> None:
    paced, pouring = Scene(0.05), Scene(0, chunks=SLICE * 3)
    sinks = [paced.start(), pouring.start()]
    await paced.engine.close()
    await pouring.engine.close()
    paced.wait(0.2)
    await asyncio.sleep(0)
    assert [len(sink.pieces) for sink in sinks] == [1, SLICE]


async def test_settings_say_how_many_and_how_fast() -> None:
    engine: Engine = open_engine(Settings(echo=EchoSettings(chunks=2, interval=0)))
    sink = Sink()
    engine.start(Job(GenerationRequest((Turn("user", "Hi you"),))), sink)
    assert sink.pieces == ["chunk 1: Hi you", "\nchunk 2: Hi you"]
    assert (engine.continues, engine.blocks, engine.slots) == (True, False, 10_000)
    words = open_engine(Settings(echo=EchoSettings(chunks=2, interval=0, words_per_second=100)))
    sink = Sink()
    words.start(Job(GenerationRequest((Turn("user", "Hi you"),))), sink)
    await asyncio.wait_for(sink.ended.wait(), 5)
    assert sink.pieces == ["chunk", " 1:", " Hi", " you", "\nchunk", " 2:", " Hi", " you"]


async def test_a_rate_beyond_reason_is_bounded() -> None:
    engine = open_engine(Settings(echo=EchoSettings(words_per_second=1e12)))
    assert engine.wheel is not None
    assert engine.wheel.grain >= 0.0001
