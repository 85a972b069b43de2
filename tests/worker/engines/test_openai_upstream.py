"""What is tried again and what is not, and the model's name: through the engine, against a scripted server."""

import asyncio
import socket
from typing import Any

import pytest

from shared.errors import ChatError, EngineError, EngineUnavailable
from shared.request import GenerationRequest, Params, Turn
from tests.worker.engines.sinks import RecordingSink
from tests.worker.engines.upstream import Exchange, drops, models, opened, refuses, says, scripted, silence
from worker.engines.base import Job
from worker.engines.openai import OpenAIEngine
from worker.engines.openai_upstream import Backoff

JOB = Job(GenerationRequest((Turn("user", "Hello"),)))


async def end_of(engine: OpenAIEngine, job: Job = JOB) -> Any:
    return await RecordingSink().run(engine, job).end()


async def at_rest(engine: OpenAIEngine) -> None:
    """Until the last connection is idle."""
    await asyncio.gather(*engine._running)


# --- the pause --------------------------------------------------------------------------------------------------------


def test_pauses_grow_up_to_a_bound() -> None:
    longest = Backoff(first=1.0, most=5.0, random=lambda: 1.0)
    shortest = Backoff(first=1.0, most=5.0, random=lambda: 0.0)

    assert [longest.pause(tries, None) for tries in (1, 2, 3, 4, 50)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert [shortest.pause(tries, None) for tries in (1, 2, 3, 4, 50)] == [0.5, 1.0, 2.0, 2.5, 2.5]


def test_a_server_that_names_a_pause_gets_it_unless_it_is_too_long() -> None:
    backoff = Backoff(first=1.0, most_asked=30.0, random=lambda: 0.25)

    assert backoff.pause(1, 20.0) == 20.25
    assert backoff.pause(1, 31.0) is None


# --- tries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_refusal_that_may_pass_is_tried_again(status: int) -> None:
    async with scripted(refuses(status), refuses(status), says("Hi")) as upstream, opened(upstream.base_url) as engine:
        sink = RecordingSink().run(engine, JOB)

        assert await sink.end() == ("stop", sink.ends[0][1])  # type: ignore[index]
        assert sink.text == "Hi"
        assert len(upstream.asked) == 3


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (1, 2), (2, 3)])
async def test_but_not_for_ever(retries: int, asked: int) -> None:
    refusals = [refuses(503)] * 5
    async with scripted(*refusals) as upstream, opened(upstream.base_url, retries=retries) as engine:
        assert isinstance(await end_of(engine), EngineUnavailable)
        assert len(upstream.asked) == asked


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 500, 501])
async def test_other_refusals_are_final_and_tell_no_secret(status: int) -> None:
    async with scripted(refuses(status), says("Hi")) as upstream, opened(upstream.base_url, api_key="sk-1") as engine:
        error = await end_of(engine)

        assert isinstance(error, ChatError)
        assert len(upstream.asked) == 1
        assert not any(secret in error.message for secret in ("sk-1", "http", "127.0.0.1", "10.0.0.1"))


async def test_a_new_connection_that_breaks_before_the_answer_is_not_tried_again() -> None:
    async with scripted(drops, says("Hi")) as upstream, opened(upstream.base_url) as engine:
        assert isinstance(await end_of(engine), EngineError)
        assert len(upstream.asked) == 1


@pytest.mark.parametrize(("drop", "asked", "text"), [((drops,), 3, "Ho"), ((drops, drops), 3, None)])
async def test_a_kept_connection_that_was_just_closed_is_replaced_once(
    drop: tuple[Any, ...], asked: int, text: str | None
) -> None:
    async with scripted(says("Hi"), *drop, says("Ho")) as upstream, opened(upstream.base_url) as engine:
        await end_of(engine)
        await at_rest(engine)
        sink = RecordingSink().run(engine, JOB)
        await sink.end()

        assert (len(upstream.asked), upstream.connections) == (asked, 2)
        assert (sink.text or None) == text


async def test_a_server_that_comes_up_late_is_found() -> None:
    starting: list[asyncio.Future[None]] = []

    async with scripted(says("Hi"), listening=False) as upstream:

        def come_up() -> float:
            starting.append(asyncio.ensure_future(upstream.listen()))
            return 1.0

        async with opened(upstream.base_url, Backoff(first=0.02, random=come_up)) as engine:
            sink = RecordingSink().run(engine, JOB)
            await sink.end()

    assert sink.text == "Hi"
    assert len(starting) == 1


async def test_a_server_that_is_not_there() -> None:
    pauses: list[int] = []

    async with scripted(listening=False) as upstream:

        def count() -> float:
            pauses.append(1)
            return 0.0

        async with opened(upstream.base_url, Backoff(first=0.001, random=count), retries=2) as engine:
            error = await end_of(engine)

    assert isinstance(error, EngineUnavailable)
    assert error.message == EngineUnavailable.sentence
    assert len(pauses) == 3


async def test_the_pause_that_the_server_asks_for_is_kept() -> None:
    loop = asyncio.get_running_loop()
    answers = refuses(429, headers={"Retry-After": "0.08"}), refuses(503, headers={"Retry-After-Ms": "50"}), says("Hi")
    async with scripted(*answers) as upstream, opened(upstream.base_url) as engine:
        start = loop.time()
        await end_of(engine)

        assert loop.time() - start > 0.08 + 0.05
        assert len(upstream.asked) == 3


@pytest.mark.parametrize(
    ("headers", "options"), [({"Retry-After": "31"}, {}), ({"Retry-After": "3"}, {"first_token_timeout": 2.0})]
)
async def test_a_pause_that_is_too_long_is_not_begun(headers: dict[str, str], options: dict[str, Any]) -> None:
    async with scripted(refuses(429, headers=headers)) as upstream, opened(upstream.base_url, **options) as engine:
        error = await asyncio.wait_for(end_of(engine), 2)

        assert isinstance(error, EngineUnavailable)
        assert "too much to do" in error.message


async def test_a_pause_given_as_a_date_is_not_understood_but_does_no_harm() -> None:
    date = {"Retry-After": "Wed, 21 Oct 2037 07:28:00 GMT"}
    async with scripted(refuses(429, headers=date), says("Hi")) as upstream, opened(upstream.base_url) as engine:
        await end_of(engine)

        assert len(upstream.asked) == 2


async def test_connecting_has_a_time_out_of_its_own() -> None:
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())  # the queue is full now: the next one gets no answer
        port = listener.getsockname()[1]
        async with opened(f"http://127.0.0.1:{port}/v1", connect_timeout=0.05, retries=1) as engine:
            error = await end_of(engine)

    assert isinstance(error, EngineUnavailable)
    assert error.message == EngineUnavailable.sentence


async def test_all_tries_together_have_the_time_of_the_first_token() -> None:
    async with (
        scripted(refuses(503), silence) as upstream,
        opened(upstream.base_url, first_token_timeout=0.1, retries=5) as engine,
    ):
        error = await end_of(engine)

        assert isinstance(error, EngineError)
        assert "too long" in error.message
        assert len(upstream.asked) == 2


async def test_a_refusal_without_end_is_read_up_to_a_bound() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.head(400)
        while True:
            await exchange.send(b"x" * 4096)

    async with scripted(endless) as upstream, opened(upstream.base_url, first_token_timeout=5.0) as engine:
        error = await end_of(engine)

    assert isinstance(error, EngineError)
    assert "refused the request" in error.message


# --- dialects ---------------------------------------------------------------------------------------------------------


async def test_a_server_that_refuses_to_be_asked_for_usage_is_not_asked_again() -> None:
    refusal = refuses(400, {"error": {"message": "Unrecognized request argument: stream_options"}})
    async with scripted(refusal, says("Hi"), says("Ho")) as upstream, opened(upstream.base_url, retries=0) as engine:
        await end_of(engine)
        await end_of(engine)

        assert ["stream_options" in asked.body for asked in upstream.asked] == [True, False, False]


async def test_one_that_complains_in_any_case_is_asked_once_more_and_nothing_is_learnt() -> None:
    refusal = refuses(400, {"error": {"message": "stream_options: we are closed"}})
    async with scripted(refusal, refusal, says("Hi")) as upstream, opened(upstream.base_url) as engine:
        assert isinstance(await end_of(engine), EngineError)
        await end_of(engine)

        assert ["stream_options" in asked.body for asked in upstream.asked] == [True, False, True]


async def test_a_model_that_wants_the_other_name_for_max_tokens() -> None:
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    refusal = refuses(400, {"error": {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}})
    job = Job(GenerationRequest((Turn("user", "Hello"),), params=Params(max_tokens=9)))
    async with scripted(refusal, says("Hi")) as upstream, opened(upstream.base_url) as engine:
        await end_of(engine, job)

        assert upstream.asked[1].body["max_completion_tokens"] == 9
        assert "max_tokens" not in upstream.asked[1].body


# --- the model --------------------------------------------------------------------------------------------------------


async def test_the_request_goes_before_the_settings() -> None:
    job = Job(GenerationRequest((Turn("user", "Hello"),), model="asked for"))
    async with scripted(says("Hi"), says("Hi")) as upstream, opened(upstream.base_url, model="set") as engine:
        await end_of(engine, job)
        await end_of(engine)

        assert [asked.body["model"] for asked in upstream.asked] == ["asked for", "set"]
        assert engine.model == "set"
        assert upstream.models_asked == 0


async def test_without_either_the_server_is_asked_once() -> None:
    async with scripted(says("a"), says("b"), says("c")) as upstream, opened(upstream.base_url, model=None) as engine:
        assert engine.model == "default"
        await asyncio.gather(end_of(engine), end_of(engine))
        await end_of(engine)

        assert [asked.body["model"] for asked in upstream.asked] == ["first-model"] * 3
        assert engine.model == "first-model"
        assert upstream.models_asked == 1


async def test_it_is_asked_before_anyone_needs_to_know() -> None:
    known = asyncio.Event()

    async with scripted() as upstream:

        async def tells(exchange: Exchange) -> None:
            await models("early")(exchange)
            known.set()

        upstream.models = tells
        async with opened(upstream.base_url, model=None) as engine:
            await known.wait()
            while engine.model != "early":  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (models(), EngineError, "does not name one"),
        (refuses(404), EngineError, "does not name one"),
        (refuses(401), EngineUnavailable, "credentials"),
        (drops, EngineError, "broke off"),
        (silence, EngineUnavailable, "cannot be reached"),
    ],
)
async def test_a_server_that_does_not_say(answer: Any, kind: type[ChatError], words: str) -> None:
    async with scripted() as upstream:
        upstream.models = answer
        async with opened(upstream.base_url, model=None, connect_timeout=0.05) as engine:
            error = await end_of(engine)

    assert type(error) is kind
    assert words in error.message


async def test_who_could_not_be_asked_is_asked_again() -> None:
    async with scripted(says("Hi")) as upstream:
        upstream.models = drops
        async with opened(upstream.base_url, model=None) as engine:
            await end_of(engine)
            upstream.models = models("later")
            await end_of(engine)

            assert engine.model == "later"


async def test_an_abort_while_the_model_is_asked_for_disturbs_nobody_else() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        asked.set()
        await answer.wait()
        await models("slow")(exchange)

    async with scripted(says("Hi")) as upstream:
        upstream.models = slowly
        async with opened(upstream.base_url, model=None) as engine:
            aborted, other = RecordingSink().run(engine, JOB), RecordingSink().run(engine, JOB)
            await asked.wait()
            aborted.abort()
            answer.set()
            await other.end()

    assert other.text == "Hi"
    assert aborted.ends == []


async def test_what_is_on_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with scripted(says("Hi")) as upstream, opened(upstream.base_url) as engine:
        sink = RecordingSink().run(engine, JOB)
        await sink.end()

    assert sink.text == "Hi"
