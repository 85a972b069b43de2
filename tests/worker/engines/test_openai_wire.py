from typing import Any

import msgspec
import pytest

from shared.errors import ChatError, EngineError, EngineUnavailable, PromptTooLong
from shared.messages import Usage
from shared.request import GenerationRequest, Params, Turn
from tests.worker.engines.upstream import delta
from worker.engines.base import Job
from worker.engines.openai_wire import Complaint, Dialect, Reply, body, complaint, first_model, refused

REQUEST = GenerationRequest((Turn("system", "Be brief."), Turn("user", "Hello, 世界!")))
JOB = Job(REQUEST)


def with_params(**params: Any) -> Job:
    return Job(msgspec.structs.replace(REQUEST, params=Params(**params)))


def encoded(event: object) -> bytes:
    return msgspec.json.encode(event)


# --- what we ask ----------------------------------------------------------------------------------------------------


def test_without_parameters_the_server_chooses() -> None:
    assert msgspec.json.decode(body(JOB, "m", Dialect())) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello, 世界!"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_parameter_is_passed_on() -> None:
    job = with_params(temperature=0.0, max_tokens=7, top_p=0.5, stop=("a", "b"), seed=0)

    asked = msgspec.json.decode(body(job, "m", Dialect()))

    wanted = {"temperature": 0.0, "max_tokens": 7, "top_p": 0.5, "stop": ["a", "b"], "seed": 0}
    assert {name: asked[name] for name in wanted} == wanted


def test_other_dialects() -> None:
    dialect = Dialect(usage=False, limit="max_completion_tokens", counts=True)

    asked = msgspec.json.decode(body(with_params(max_tokens=7, stop="end"), "m", dialect))

    assert "stream_options" not in asked
    assert "max_tokens" not in asked
    assert asked["max_completion_tokens"] == 7
    assert asked["stop"] == "end"


def test_what_stands_goes_along_as_a_partial_message_and_its_tokens_count() -> None:
    job = with_params(max_tokens=7)._replace(text="Good mor", pieces=2, tokens=3)

    asked = msgspec.json.decode(body(job, "m", Dialect(counts=True)))

    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello, 世界!"},
        {"role": "assistant", "content": "Good mor"},
    ]
    assert (asked["add_generation_prompt"], asked["continue_final_message"]) == (False, True)
    assert asked["max_tokens"] == 4
    assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    ("found", "dialect"),
    [
        (Complaint("Unknown field: stream_options"), Dialect(usage=False)),
        (Complaint([{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]), Dialect(usage=False)),
        (Complaint("not allowed", param="stream_options.include_usage"), Dialect(usage=False)),
        (
            Complaint("Unsupported parameter: use 'max_completion_tokens' instead.", param="max_tokens"),
            Dialect(limit="max_completion_tokens"),
        ),
        (Complaint("'max_tokens' or 'max_completion_tokens' is too large: 9"), Dialect()),
        (Complaint("temperature must be positive"), Dialect()),
    ],
)
def test_dialects_adapt_to_complaints(found: Complaint, dialect: Dialect) -> None:
    assert Dialect().adapted(found) == dialect
    assert dialect.adapted(found) == dialect, "each is adapted once"


def test_a_server_that_cannot_count_with_every_chunk_is_still_asked_for_usage() -> None:
    found = Complaint("extra fields not permitted: stream_options.continuous_usage_stats")
    assert Dialect(counts=True).adapted(found) == Dialect()


# --- refusals ---------------------------------------------------------------------------------------------------------

LLAMA = b'{"error":{"code":400,"message":"exceeds","type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":8}}'
OPENAI = b'{"error":{"message":"Too long","type":"invalid_request_error","code":"context_length_exceeded"}}'
VLLM = b'{"object":"error","message":"This model\'s maximum context length is 8 tokens.","code":400}'


@pytest.mark.parametrize(
    ("status", "data", "error", "words", "passing"),
    [
        (400, LLAMA, PromptTooLong, "", False),
        (400, OPENAI, PromptTooLong, "", False),
        (400, VLLM, PromptTooLong, "", False),
        (413, b"", PromptTooLong, "", False),
        (400, b'{"error":{"message":"no"}}', EngineError, "refused the request", False),
        (422, b'{"detail":[{"msg":"no"}]}', EngineError, "refused the request", False),
        (307, b"", EngineError, "refused the request", False),
        (401, b"", EngineUnavailable, "refused our credentials", False),
        (403, b"{}", EngineUnavailable, "refused our credentials", False),
        (404, b'{"error":"model not found"}', EngineError, "does not know this model", False),
        (429, b"", EngineUnavailable, "too much to do", True),
        (500, b"<html>", EngineUnavailable, "fault of its own", False),
        (502, b"", EngineUnavailable, "not ready", True),
        (503, b'{"error":{"message":"Loading model"}}', EngineUnavailable, "not ready", True),
        (504, b"", EngineUnavailable, "not ready", True),
    ],
)
def test_what_a_refusal_means(status: int, data: bytes, error: type[ChatError], words: str, passing: bool) -> None:
    found = refused(status, complaint(data), 3.0)

    assert type(found.error) is error
    assert words in found.error.message
    assert found.passing is passing
    assert (found.after == 3.0) or not passing


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"error":{"message":"m","type":"t","param":"p","code":7,"more":1}}', Complaint("m", "t", "p", 7)),
        (b'{"error":"m"}', Complaint("m")),
        (b'{"error":null,"message":"m"}', Complaint("m")),
        (b'{"detail":"m"}', Complaint("m")),
        (b"plain \xff", Complaint("plain \ufffd")),
        (b"[" * 100_000, Complaint("[" * 100_000)),
        (b"[]", Complaint("[]")),
    ],
)
def test_complaints_of_all_kinds(data: bytes, found: Complaint) -> None:
    read = complaint(data)

    assert (read.message, read.type, read.param, read.code) == (found.message, found.type, found.param, found.code)


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_reply() -> None:
    reply = Reply()
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        delta("Hel", usage=None),
        delta("lo"),
        delta(None, "stop"),
        {"choices": [], "usage": usage},
    ]

    assert "".join(reply.take(encoded(event)) for event in events) == "Hello"
    assert reply.complete
    assert not reply.done
    assert reply.take(b"[DONE]") == ""
    assert reply.done
    assert (reply.reason, reply.usage) == ("stop", Usage(3, 2, estimated=False))


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b" ",
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"delta":null}]}',
        b'{"choices":[{"delta":{"content":null}}],"usage":null,"error":null}',
        b'{"choices":[{"delta":{"reasoning_content":"hm","reasoning":"hm"},"finish_reason":""}]}',
        b'{"type":"ping"}',
        b'{"usage":{"prompt_tokens":null}}',
    ],
)
def test_events_without_text(event: bytes) -> None:
    reply = Reply()

    assert reply.take(event) == ""
    assert not reply.complete
    assert reply.usage is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("eos_token", "stop")],
)
def test_finish_reasons(told: str, reason: str) -> None:
    reply = Reply()

    assert reply.take(encoded(delta("end", told))) == "end"
    assert reply.complete
    assert reply.reason == reason


def test_the_end_mark_alone_is_an_end() -> None:
    reply = Reply()
    reply.take(b"[DONE]")

    assert reply.complete
    assert reply.reason == "stop"


@pytest.mark.parametrize(("told", "words"), [("content_filter", "content filter"), ("abort", "broke off")])
def test_ends_that_are_none(told: str, words: str) -> None:
    reply = Reply()
    reply.take(encoded(delta(None, told)))

    with pytest.raises(EngineError, match=words):
        _ = reply.reason


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b'{"error":{"message":"CUDA at 10.0.0.1","code":500}}', EngineError),
        (b'{"error":"CUDA"}', EngineError),
        (b'{"object":"error","message":"CUDA","code":500}', EngineError),
        (LLAMA, PromptTooLong),
        (VLLM, PromptTooLong),
        (b'{"choices":', EngineError),
        (b'{"choices":7}', EngineError),
        (b"\xff", EngineError),
        (b"[" * 100_000, EngineError),
        (b'"text"', EngineError),
    ],
)
def test_events_that_end_a_reply(event: bytes, error: type[ChatError]) -> None:
    with pytest.raises(ChatError) as raised:
        Reply().take(event)

    assert type(raised.value) is error
    assert "CUDA" not in raised.value.message


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b'{"object":"list","data":[{"id":"a","x":1},{"id":"b"}]}', "a"),
        (b'{"data":[]}', None),
        (b'{"data":null}', None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_first_model(data: bytes, name: str | None) -> None:
    assert first_model(data) == name


def test_pieces_have_as_many_tokens_as_the_server_counts() -> None:
    reply = Reply()
    told = []
    for text, counted in (("a", 1), ("bc", 3), ("", 5), ("d", 6), ("e", 6), ("f", None)):
        usage = None if counted is None else {"prompt_tokens": 9, "completion_tokens": counted}
        if reply.take(encoded(delta(text, usage=usage))):
            told.append(reply.tokens())
    assert told == [1, 2, 3, 1, 1]


def test_where_it_does_not_count_a_piece_is_a_token() -> None:
    reply = Reply()
    told = [reply.tokens() for text in "abc" if reply.take(encoded(delta(text)))]
    assert told == [1, 1, 1]
