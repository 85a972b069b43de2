"""The engine against a scripted server and, at the end, against a real one."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from shared.errors import EngineError, EngineUnavailable, PromptTooLong
from shared.messages import Usage
from shared.request import GenerationRequest, Params, Turn
from shared.settings import OpenAISettings, Settings, WorkerSettings
from tests.llama import CONTEXT, MODEL, llama_server
from tests.worker.engines.sinks import RecordingSink
from tests.worker.engines.upstream import (
    Answer,
    Exchange,
    delta,
    opened,
    refuses,
    says,
    scripted,
    silence,
    streams,
)
from worker.engines import openai
from worker.engines.base import Job
from worker.engines.openai import open_engine
from worker.engines.openai_upstream import Backoff

JOB = Job(GenerationRequest((Turn("user", "Hello"),)))


async def reply_to(answer: Answer, **options: Any) -> RecordingSink:
    """What a sink holds at the end of a reply."""
    async with scripted(answer) as upstream, opened(upstream.base_url, **options) as engine:
        sink = RecordingSink().run(engine, JOB)
        await sink.end()
    assert len(sink.ends) == 1
    return sink


# --- a reply that goes well -------------------------------------------------------------------------------------------


async def test_pieces_usage_and_end() -> None:
    sink = await reply_to(says("Hello", ",", " 世界", "\n"))

    assert sink.pieces == ["Hello", ",", " 世界", "\n"]
    assert sink.ends == [("stop", Usage(5, 4, estimated=False))]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_what_the_server_is_asked(slash: str) -> None:
    job = Job(GenerationRequest((Turn("user", "Hello"),), params=Params(temperature=0.5, max_tokens=3)))
    async with scripted(says("Hi")) as upstream, opened(upstream.base_url + slash, api_key="sk-1") as engine:
        await RecordingSink().run(engine, job).end()
        asked = upstream.asked[0]

    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.headers["authorization"] == "Bearer sk-1"
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 3,
    }


async def test_without_a_key_none_is_sent() -> None:
    async with scripted(says("Hi")) as upstream, opened(upstream.base_url) as engine:
        await RecordingSink().run(engine, JOB).end()

        assert "authorization" not in upstream.asked[0].headers


async def test_a_stream_cut_anywhere() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        for byte in 'data: {"choices":[{"delta":{"content":"ä🐦"}}]}\r\n\r\n: ping\r\n\r\ndata: [DONE]'.encode():
            await exchange.send(bytes([byte]))
        await exchange.end()

    sink = await reply_to(answer)

    assert sink.pieces == ["ä🐦"]
    assert sink.ends == [("stop", None)]


async def test_what_is_no_text_is_passed_over() -> None:
    events = [
        {"choices": [{"delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"delta": {"reasoning_content": "Let me think."}}]},
        delta(""),
        delta("Yes."),
        delta(None, "length"),
    ]

    sink = await reply_to(streams(*events))

    assert sink.pieces == ["Yes."]
    assert sink.ends == [("length", None)]


async def test_a_connection_is_used_again() -> None:
    async with scripted(says("a"), says("b"), says("c")) as upstream, opened(upstream.base_url) as engine:
        for _ in range(3):
            await RecordingSink().run(engine, JOB).end()
            while engine._running:  # the end of the body comes after the end of the text  # noqa: ASYNC110
                await asyncio.sleep(0)

        assert upstream.connections == 1


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (streams(delta("Hi"), delta(None, "stop"), done=False), ("stop", None)),
        (streams(delta("Hi", "length"), done=False), ("length", None)),
        (streams(delta("Hi")), ("stop", None)),
    ],
)
async def test_either_mark_of_the_end_will_do(answer: Answer, end: tuple[str, None]) -> None:
    sink = await reply_to(answer)

    assert sink.text == "Hi"
    assert sink.ends == [end]


@pytest.mark.parametrize("last", ["break", "wait"])
async def test_when_the_text_is_complete_nothing_can_spoil_it(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "LAST_WAIT", 0.05)

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(delta("Hi", "stop"))
        if last == "break":
            exchange.drop()
        else:
            await exchange.gone()

    sink = await reply_to(answer)

    assert sink.text == "Hi"
    assert sink.ends == [("stop", None)]


@pytest.mark.parametrize(
    ("events", "kind", "words"),
    [
        ([delta("Hi")], EngineError, "broke off"),
        ([], EngineError, "broke off"),
        ([delta("Hi"), {"error": {"message": "CUDA at 10.0.0.1", "code": 500}}], EngineError, "broke off"),
        ([{"error": {"type": "exceed_context_size_error"}}], PromptTooLong, ""),
        ([delta("Hi"), delta(None, "content_filter")], EngineError, "content filter"),
        ([delta("Hi"), b"{"], EngineError, "not a chat stream"),
        ([delta("Hi"), b"x" * (1 << 21)], EngineError, "not a chat stream"),
    ],
)
async def test_streams_that_end_badly(events: list[Any], kind: type[EngineError], words: str) -> None:
    sink = await reply_to(streams(*events, done=False))
    (error,) = sink.ends

    assert sink.text in ("", "Hi")
    assert type(error) is kind
    assert words in error.message
    assert "CUDA" not in error.message


async def test_after_the_first_piece_nothing_is_tried_again() -> None:
    async def breaks(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(delta("Hi"))
        exchange.drop()

    async with scripted(breaks, says("again")) as upstream, opened(upstream.base_url) as engine:
        sink = RecordingSink().run(engine, JOB)
        error = await sink.end()

        assert isinstance(error, EngineError)
        assert "broke off" in error.message
        assert sink.text == "Hi"
        assert len(upstream.asked) == 1


# --- time-outs --------------------------------------------------------------------------------------------------------


async def pings(exchange: Exchange) -> None:
    """All that may come but text, until the client goes."""
    gone = asyncio.ensure_future(exchange.gone())
    while not gone.done():
        await exchange.send(b": ping\n\n")
        await exchange.event(delta(""))
        await asyncio.sleep(0.005)


async def only_pings(exchange: Exchange) -> None:
    await exchange.head()
    await pings(exchange)


@pytest.mark.parametrize("answer", [silence, only_pings])
async def test_a_first_token_that_does_not_come(answer: Answer) -> None:
    sink = await reply_to(answer, first_token_timeout=0.1)
    (error,) = sink.ends

    assert isinstance(error, EngineError)
    assert "too long to begin" in error.message


async def test_a_next_token_that_does_not_come() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(delta("Hi"))
        await pings(exchange)

    sink = await reply_to(answer, between_token_timeout=0.1)
    (error,) = sink.ends

    assert sink.text == "Hi"
    assert isinstance(error, EngineError)
    assert "silent" in error.message


async def test_a_slow_drip_is_fine_however_long_it_takes() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(10):
            await asyncio.sleep(0.03)
            await exchange.event(delta("."))
        await exchange.event(b"[DONE]")
        await exchange.end()

    sink = await reply_to(answer, first_token_timeout=0.25, between_token_timeout=0.25)

    assert sink.text == "." * 10
    assert sink.ends == [("stop", None)]


# --- back-pressure ----------------------------------------------------------------------------------------------------


async def test_while_the_sink_is_congested_nothing_is_read_and_no_time_counts() -> None:
    sent = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(delta("one"))
        await sink.enough(1)
        await exchange.event(delta("two", "stop"))
        await exchange.event(b"[DONE]")
        await exchange.end()
        sent.set()

    sink = RecordingSink()
    sink.congested = True
    async with scripted(answer) as upstream, opened(upstream.base_url, between_token_timeout=0.05) as engine:
        sink.run(engine, JOB)
        await sent.wait()
        await asyncio.sleep(0.1)
        assert (sink.pieces, sink.ends) == (["one"], [])

        sink.relax()
        await sink.end()

    assert sink.pieces == ["one", "two"]
    assert sink.ends == [("stop", None)]


# --- abort ------------------------------------------------------------------------------------------------------------


async def endless(exchange: Exchange) -> None:
    await exchange.head()
    gone = asyncio.ensure_future(exchange.gone())
    while not gone.done():
        await exchange.event(delta("x"))
        await asyncio.sleep(0)


class Watched:
    """An answer, and whether the client has gone in the midst of it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.begun = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self.begun.set()
        with contextlib.suppress(ConnectionError):
            await self._answer(exchange)
        self.gone.set()


async def test_an_abort_in_mid_stream_closes_the_request() -> None:
    answer = Watched(endless)
    async with scripted(answer) as upstream, opened(upstream.base_url) as engine:
        sink = RecordingSink().run(engine, JOB)
        await sink.enough(3)
        sink.abort()
        made = len(sink.pieces)
        await answer.gone.wait()

    assert len(sink.pieces) == made
    assert sink.ends == []


async def test_an_abort_before_the_answer_closes_the_request() -> None:
    answer = Watched(silence)
    async with scripted(answer) as upstream, opened(upstream.base_url) as engine:
        sink = RecordingSink().run(engine, JOB)
        await answer.begun.wait()
        sink.abort()
        await answer.gone.wait()

    assert sink.ends == []


async def test_an_abort_while_the_sink_is_congested_closes_the_request() -> None:
    answer = Watched(endless)
    sink = RecordingSink()
    sink.congested = True
    async with scripted(answer) as upstream, opened(upstream.base_url) as engine:
        sink.run(engine, JOB)
        await sink.enough(1)
        sink.abort()
        await answer.gone.wait()

    assert sink.ends == []


async def test_an_abort_in_a_pause_ends_the_trying() -> None:
    pausing = asyncio.Event()

    def long_pause() -> float:
        pausing.set()
        return 1.0

    async with (
        scripted(refuses(503)) as upstream,
        opened(upstream.base_url, Backoff(30.0, 30.0, 30.0, long_pause)) as engine,
    ):
        sink = RecordingSink().run(engine, JOB)
        await pausing.wait()
        sink.abort()
        await asyncio.wait(engine._running)

    assert sink.ends == []


async def test_an_abort_while_connecting() -> None:
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())  # the queue is full now: the next one gets no answer
        async with opened(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", connect_timeout=60.0) as engine:
            sink = RecordingSink().run(engine, JOB)
            await asyncio.sleep(0.02)
            sink.abort()
            await asyncio.wait(engine._running)

    assert sink.ends == []


async def test_an_abort_at_once_after_the_end_or_again_is_fine() -> None:
    async with scripted(says("Hi"), says("Ho")) as upstream, opened(upstream.base_url) as engine:
        at_once = RecordingSink().run(engine, JOB)
        at_once.abort()
        at_once.abort()
        sink = RecordingSink().run(engine, JOB)
        await sink.end()
        sink.abort()
        await asyncio.sleep(0)
        sink.abort()

    assert at_once.pieces == []
    assert at_once.ends == []
    assert len(sink.ends) == 1


async def test_close_ends_what_runs() -> None:
    answer = Watched(endless)
    async with scripted(answer) as upstream:
        async with opened(upstream.base_url) as engine:
            sink = RecordingSink().run(engine, JOB)
            await sink.enough(1)
        await answer.gone.wait()

    assert sink.ends == []


# --- from the settings ------------------------------------------------------------------------------------------------


async def test_what_the_worker_learns_of_the_engine() -> None:
    async with opened("http://127.0.0.1:9/v1", first_token_timeout=9.0, between_token_timeout=4.0) as engine:
        assert not engine.continues
        assert not engine.blocks
        assert engine.slots == 64
        assert engine.first_piece_limit > 9
        assert engine.next_piece_limit > 4


async def test_as_many_connections_as_slots() -> None:
    slots = 100
    async with scripted(*[endless] * slots) as upstream:
        settings = Settings(
            openai=OpenAISettings(base_url=upstream.base_url, model="m"), worker=WorkerSettings(slots=slots)
        )
        engine = open_engine(settings)
        sinks = [RecordingSink().run(engine, JOB) for _ in range(slots)]
        for sink in sinks:
            await sink.enough(1)
        await engine.close()

        assert upstream.connections == slots


@pytest.mark.parametrize(
    "url", ["localhost:11434/v1", "", "ftp://host/v1", "http://", "http://h:99999/v1", "http://[1"]
)
def test_an_address_that_is_none_is_one_sentence(url: str) -> None:
    settings = Settings(openai=OpenAISettings.model_construct(base_url=url))

    with pytest.raises(ValueError, match=r"^LLM_CHAT_OPENAI_BASE_URL [^\n]+$"):
        open_engine(settings)


@pytest.mark.parametrize("key", ["sk 1", "sk-1\n2", "schlüssel"])
def test_a_key_that_is_none_is_one_sentence_that_does_not_show_it(key: str) -> None:
    settings = Settings(openai=OpenAISettings(api_key=key))  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"^LLM_CHAT_OPENAI_API_KEY [^\n]+$") as raised:
        open_engine(settings)

    assert key not in str(raised.value)


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama"), slots=1) as base_url:
        yield base_url


def ask(content: str = "Tell me a story.", **params: Any) -> Job:
    return Job(GenerationRequest((Turn("user", content),), params=Params(**params)))


async def test_real_text_is_what_the_server_gives_when_asked_directly(llama: str) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me a story."}], "temperature": 0, "max_tokens": 200}
    async with httpx2.AsyncClient() as client:
        direct = (await client.post(f"{llama}/chat/completions", json=body)).json()

    async with opened(llama, model=None) as engine:
        sink = RecordingSink().run(engine, ask(temperature=0, max_tokens=200))
        end = await sink.end()
        assert engine.model == MODEL

    assert sink.text == direct["choices"][0]["message"]["content"]
    assert len(sink.pieces) == 200
    assert end == ("length", Usage(direct["usage"]["prompt_tokens"], 200, estimated=False))


async def test_real_stop_strings(llama: str) -> None:
    async with opened(llama) as engine:
        whole = RecordingSink().run(engine, ask(temperature=0, max_tokens=50))
        await whole.end()
        stop = whole.text[30:33]
        sink = RecordingSink().run(engine, ask(temperature=0, max_tokens=50, stop=(stop, "Q")))
        end = await sink.end()

    assert sink.text == whole.text[: whole.text.index(stop)]
    assert isinstance(end, tuple)
    assert end[0] == "stop"


async def test_real_sampling(llama: str) -> None:
    async def text(**params: Any) -> str:
        sink = RecordingSink().run(engine, ask(max_tokens=50, **params))
        await sink.end()
        return sink.text

    async with opened(llama) as engine:
        one, again, other = [await text(temperature=1.5, top_p=1.0, seed=seed) for seed in (1, 1, 2)]

    assert one == again
    assert one != other


async def test_a_real_prompt_that_is_too_long(llama: str) -> None:
    async with opened(llama) as engine:
        sink = RecordingSink().run(engine, ask("x" * (CONTEXT + 1)))

        assert isinstance(await sink.end(), PromptTooLong)


async def is_processing(client: httpx2.AsyncClient, llama: str) -> bool:
    slots = (await client.get(f"{llama.removesuffix('/v1')}/slots")).json()
    return any(slot["is_processing"] for slot in slots)


async def test_an_abort_stops_the_real_server(llama: str) -> None:
    async with opened(llama) as engine, httpx2.AsyncClient() as client:
        long = RecordingSink().run(engine, ask(max_tokens=30_000))
        await long.enough(5)
        assert await is_processing(client, llama)

        long.abort()
        while await is_processing(client, llama):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        made = len(long.pieces)
        short = RecordingSink().run(engine, ask(max_tokens=5))
        await short.end()

    assert len(short.pieces) == 5
    assert len(long.pieces) == made
    assert made < 30_000
    assert long.ends == []


async def test_a_real_server_that_is_gone(llama: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with opened(f"http://127.0.0.1:{unused.getsockname()[1]}/v1") as engine:
            assert isinstance(await RecordingSink().run(engine, JOB).end(), EngineUnavailable)
