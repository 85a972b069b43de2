"""The engine where the model server continues a message that another worker began."""

from pathlib import Path
from typing import Any

import pytest

from shared.errors import ChatError, EngineUnavailable, PromptTooLong
from shared.request import GenerationRequest, Params, Turn
from tests.llama import llama_server
from tests.worker.engines.sinks import RecordingSink
from tests.worker.engines.upstream import opened, refuses, says, scripted
from worker.engines.base import Job

JOB = Job(GenerationRequest((Turn("user", "Hello"),)))
STOOD = JOB._replace(text="Good mor", pieces=2, tokens=3)


def with_params(**params: Any) -> Job:
    return STOOD._replace(request=GenerationRequest(STOOD.request.turns, params=Params(**params)))


async def test_a_server_that_continues_is_sent_what_stands() -> None:
    async with scripted(says("ning")) as upstream, opened(upstream.base_url, continues=True) as engine:
        sink = RecordingSink().run(engine, STOOD)
        await sink.end()
        asked = upstream.asked[0].body

    assert (sink.pieces, sink.restarts) == (["ning"], 0)
    assert asked["messages"][-1] == {"role": "assistant", "content": "Good mor"}


@pytest.mark.parametrize(
    ("job", "goes_on"),
    [
        (STOOD, True),
        (with_params(temperature=0.7), True),
        (with_params(temperature=0, seed=1), True),
        (with_params(temperature=0.7, seed=1), False),
        (with_params(seed=1), False),
        (STOOD._replace(text="Good "), False),
        (STOOD._replace(text="Good\n\n"), False),
    ],
)
async def test_it_goes_on_only_where_one_worker_could_have_written_the_whole(job: Job, goes_on: bool) -> None:
    async with scripted(says("x")) as upstream, opened(upstream.base_url, continues=True) as engine:
        sink = RecordingSink().run(engine, job)
        assert sink.restarts == (0 if goes_on else 1)
        await sink.end()
        messages = upstream.asked[0].body["messages"]

    assert [message["role"] for message in messages] == ["user", "assistant"][: 1 + goes_on]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_that_refuses_to_go_on_is_asked_to_begin_again(status: int) -> None:
    refusal = refuses(status, {"error": {"message": "Prefilling is not possible while thinking is enabled."}})
    async with scripted(refusal, says("Hi")) as upstream, opened(upstream.base_url, continues=True) as engine:
        sink = RecordingSink().run(engine, STOOD)
        await sink.end()
        asked = [asked.body for asked in upstream.asked]

    assert (sink.pieces, sink.restarts) == (["Hi"], 1)
    assert [len(body["messages"]) for body in asked] == [2, 1]
    assert "continue_final_message" not in asked[1]


@pytest.mark.parametrize(
    ("status", "message", "error"), [(400, "exceeds the context window", PromptTooLong), (500, "", EngineUnavailable)]
)
async def test_any_other_refusal_is_final(status: int, message: str, error: type[ChatError]) -> None:
    refusal = refuses(status, {"error": {"message": message}})
    async with scripted(refusal) as upstream, opened(upstream.base_url, continues=True) as engine:
        sink = RecordingSink().run(engine, STOOD)
        assert isinstance(await sink.end(), error)

    assert sink.restarts == 0


async def test_where_no_token_is_left_the_server_is_not_asked() -> None:
    async with scripted() as upstream, opened(upstream.base_url, continues=True) as engine:
        sink = RecordingSink().run(engine, with_params(max_tokens=3))

        assert sink.ends == [("length", None)]
        assert upstream.asked == []


async def test_the_real_server_goes_on_behind_any_piece(tmp_path: Path) -> None:
    """Exactly, because nothing is drawn and its flash attention is off."""
    job = Job(GenerationRequest(JOB.request.turns, params=Params(temperature=0, max_tokens=60)))
    with llama_server(tmp_path) as base_url:
        async with opened(base_url, continues=True) as engine:
            whole = RecordingSink().run(engine, job)
            await whole.end()
            goes_on = [stands for stands in range(1, 61) if whole.pieces[stands - 1] != " "]
            for stands in goes_on:
                stood = job._replace(text="".join(whole.pieces[:stands]), pieces=stands, tokens=stands)
                sink = RecordingSink().run(engine, stood)
                assert (await sink.end())[0] == "length"  # type: ignore[index]
                assert sink.pieces == whole.pieces[stands:]
                assert sink.restarts == 0
    assert len(goes_on) > 50
