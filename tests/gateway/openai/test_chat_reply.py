import json
from typing import Any

from gateway.openai.chat_reply import ChatStream, ChatWhole, Identity
from shared.messages import Delta, Done, Event, Failed, FinishReason, Started, Takeover, Timing, Usage

IDENTITY = Identity("chatcmpl-1", 1_700_000_000, "asked")
HEAD = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"echo",'


def done(reason: FinishReason = "stop") -> Done:
    return Done(reason, Usage(3, 5, False), Timing(0, 1, 2), "hash")


def streamed(*events: Event, usage: bool = False) -> str:
    form = ChatStream(IDENTITY, include_usage=usage)
    said = form.accepted()
    for event in events:
        assert not form.ended
        said += form.event(event)
    return b"".join(said).decode()


def choice(delta: str, reason: str = "null") -> str:
    return f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]'


FIRST = choice('{"role":"assistant","content":"","refusal":null}')


def test_a_stream_is_exactly_this() -> None:
    frames = streamed(Started("echo"), Delta("one"), Delta(' "two"\n'), done()).split("\n\n")
    assert frames == [
        "data: " + HEAD + FIRST + "}",
        "data: " + HEAD + choice('{"content":"one"}') + "}",
        "data: " + HEAD + choice('{"content":" \\"two\\"\\n"}') + "}",
        "data: " + HEAD + choice("{}", '"stop"') + "}",
        "data: [DONE]",
        "",
    ]


def test_with_usage_every_chunk_has_the_field_and_one_more_comes_last() -> None:
    frames = streamed(Started("echo"), Delta("one"), done("length"), usage=True).split("\n\n")
    assert frames == [
        "data: " + HEAD + FIRST + ',"usage":null}',
        "data: " + HEAD + choice('{"content":"one"}') + ',"usage":null}',
        "data: " + HEAD + choice("{}", '"length"') + ',"usage":null}',
        "data: " + HEAD + '"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}',
        "data: [DONE]",
        "",
    ]


def test_a_reply_without_text_has_its_first_and_its_last_chunk() -> None:
    frames = streamed(Started("echo"), done()).split("\n\n")
    assert frames[0] == "data: " + HEAD + FIRST + "}"
    assert frames[1] == "data: " + HEAD + choice("{}", '"stop"') + "}"


def test_an_exact_takeover_is_not_seen() -> None:
    assert streamed(Started("echo"), Delta("a"), Takeover(True), Delta("b"), done()) == streamed(
        Started("echo"), Delta("a"), Delta("b"), done()
    )


def test_a_takeover_before_any_text_is_not_seen() -> None:
    assert streamed(Started("echo"), Takeover(False), Delta("b"), done()) == streamed(
        Started("echo"), Delta("b"), done()
    )


def error_behind_text(*events: Event) -> dict[str, Any]:
    """The last frame is the error; nothing says that the reply was complete."""
    text = streamed(Started("echo"), Delta("a"), *events)
    assert "[DONE]" not in text
    assert '"finish_reason":"' not in text
    error: dict[str, Any] = json.loads(text.split("\n\n")[-2].removeprefix("data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_a_takeover_that_is_not_exact_ends_a_stream_that_has_text() -> None:
    error = error_behind_text(Takeover(False))
    assert (error["type"], error["code"], error["param"]) == ("server_error", "restarted", None)


def test_a_failure_in_mid_stream_is_an_error_chunk() -> None:
    assert error_behind_text(Failed("worker_lost", "Gone.", True)) == {
        "message": "Gone.",
        "type": "server_error",
        "param": None,
        "code": "worker_lost",
    }


def test_a_cancelled_reply_does_not_look_complete() -> None:
    assert error_behind_text(done("cancelled"))["code"] == "cancelled"


def test_before_any_text_a_failure_can_still_be_a_status() -> None:
    form = ChatStream(IDENTITY, include_usage=False)
    assert form.event(Started("echo")) == []
    form.event(Failed("engine_unavailable", "Away.", True))
    assert form.ended
    assert not form.begun
    assert form.problem is not None
    assert form.problem.status == 503
    assert form.problem.headers() == {"x-should-retry": "true", "retry-after": "1", "retry-after-ms": "1000"}


def test_a_whole_is_exactly_this() -> None:
    form = ChatWhole(IDENTITY)
    said = [
        form.event(e) for e in (Started("echo"), Delta("x"), Takeover(False), Delta("a"), Takeover(True), Delta("b"))
    ]
    assert said == [[]] * 6
    (body,) = form.event(done())
    assert form.ended
    assert json.loads(body) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "echo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }


def test_a_whole_that_fails_has_its_problem() -> None:
    for event, status in ((Failed("engine_error", "Broke.", False), 502), (done("cancelled"), 409)):
        form = ChatWhole(IDENTITY)
        form.event(event)
        assert form.ended
        assert form.problem is not None
        assert form.problem.status == status
        assert form.problem.headers() == {"x-should-retry": "false"}
