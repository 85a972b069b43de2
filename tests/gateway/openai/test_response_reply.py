import json
from typing import Any

import pytest

from gateway.openai.problem import problem_of
from gateway.openai.response import Head, Outcome, input_items, response_object
from gateway.openai.response_id import ResponseId
from gateway.openai.response_reply import ResponseStream, ResponseWhole
from shared.errors import Expired
from shared.messages import Delta, Done, Event, Failed, FinishReason, Started, Takeover, Timing, Usage
from shared.request import Params, Turn

ID = ResponseId("s_1", "r_1")
HEAD = Head(1_700_000_000, "echo", (Turn("user", "Hello"),))
RESPONSE: dict[str, Any] = {
    "id": str(ID),
    "object": "response",
    "created_at": 1_700_000_000,
    "status": "in_progress",
    "background": False,
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "model": "echo",
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 8,
}
PLACE = {"item_id": ID.item, "output_index": 0, "content_index": 0}


def done(reason: FinishReason = "stop") -> Done:
    return Done(reason, Usage(3, 5, False), Timing(0, 1, 2_000), "hash")


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def item(status: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"id": ID.item, "type": "message", "status": status, "role": "assistant", "content": list(content)}


def frames(*events: Event, head: Head = HEAD, after: int = -1, accepted: bool = True) -> list[bytes]:
    form = ResponseStream(ID, head, after=after)
    said = form.accepted() if accepted else []
    for event in events:
        if not form.ended:
            said += form.event(event)
    return said


def told(said: list[bytes]) -> list[dict[str, Any]]:
    """The events; their framing is checked on the way."""
    found = []
    for frame in said:
        name, data, *rest = frame.decode().split("\n")
        assert rest == ["", ""]
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def test_a_stream_is_exactly_this() -> None:
    events = told(frames(Started("echo"), Delta("one"), Delta(" two"), done()))
    assert [event.pop("sequence_number") for event in events] == list(range(10))
    assert events == [
        {"type": "response.created", "response": RESPONSE},
        {"type": "response.in_progress", "response": RESPONSE},
        {"type": "response.output_item.added", "output_index": 0, "item": item("in_progress")},
        {"type": "response.content_part.added", **PLACE, "part": part("")},
        {"type": "response.output_text.delta", **PLACE, "delta": "one", "logprobs": []},
        {"type": "response.output_text.delta", **PLACE, "delta": " two", "logprobs": []},
        {"type": "response.output_text.done", **PLACE, "text": "one two", "logprobs": []},
        {"type": "response.content_part.done", **PLACE, "part": part("one two")},
        {"type": "response.output_item.done", "output_index": 0, "item": item("completed", part("one two"))},
        {
            "type": "response.completed",
            "response": {
                **RESPONSE,
                "status": "completed",
                "completed_at": 1_700_000_002,
                "output": [item("completed", part("one two"))],
                "usage": USAGE,
            },
        },
    ]


EVENTS = (Started("echo"), Delta("one"), Takeover(True), Delta(" two"), done())


@pytest.mark.parametrize("after", range(-1, 12))
def test_whoever_begins_to_read_anywhere_gets_the_rest_of_the_very_same_bytes(after: int) -> None:
    whole = frames(*EVENTS)
    assert frames(*EVENTS, after=after, accepted=False) == whole[after + 1 :]


def test_an_exact_takeover_takes_no_number() -> None:
    assert frames(*EVENTS) == frames(Started("echo"), Delta("one"), Delta(" two"), done())


def test_a_takeover_that_is_not_exact_fails_a_stream_that_has_text() -> None:
    events = told(frames(Started("echo"), Delta("one"), Takeover(False), Delta("another"), done()))
    assert [event["type"] for event in events][-2:] == ["response.output_text.delta", "response.failed"]
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"]["code"] == "server_error"
    assert response["output"] == [item("incomplete", part("one"))]


def test_a_takeover_before_any_text_is_not_seen() -> None:
    assert frames(Started("echo"), Takeover(False), Delta("b"), done()) == frames(Started("echo"), Delta("b"), done())


@pytest.mark.parametrize(
    ("event", "type", "status", "details"),
    [
        (done("length"), "response.incomplete", "incomplete", {"reason": "max_output_tokens"}),
        (done("cancelled"), "response.incomplete", "cancelled", None),
        (Failed("worker_lost", "Gone.", True), "response.failed", "failed", None),
    ],
)
def test_other_ends(event: Event, type: str, status: str, details: Any) -> None:
    last = told(frames(Started("echo"), Delta("one"), event))[-1]
    assert last["type"] == type
    response = last["response"]
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert response["output"] == [item("incomplete", part("one"))]
    assert response["completed_at"] is None
    assert (response["error"] is None) == (status != "failed")


def test_a_reply_that_never_began_ends_all_the_same() -> None:
    types = [event["type"] for event in told(frames(Failed("expired", "Late.", True)))]
    assert types == ["response.created", "response.in_progress", "response.failed"]
    types = [event["type"] for event in told(frames(done("cancelled")))]
    assert types[0] == "response.created"
    assert types[-2:] == ["response.output_item.done", "response.incomplete"]


def test_in_the_background_it_begins_queued() -> None:
    head = Head(1_700_000_000, "echo", HEAD.input, background=True)
    created, progress = told(frames(head=head))
    assert (created["response"]["status"], progress["response"]["status"]) == ("queued", "in_progress")


def test_a_loss_is_a_failure() -> None:
    form = ResponseStream(ID, HEAD)
    form.accepted()
    (failed,) = told(form.fail(problem_of(Expired())))
    assert form.ended
    assert failed["response"]["error"] == {"code": "server_error", "message": Expired.sentence}


def test_a_whole_is_the_reply_as_it_stands_in_the_end() -> None:
    form = ResponseWhole()
    for event in (Started("echo"), Delta("one"), Takeover(False), Delta("another"), Takeover(True), Delta(" one")):
        assert form.event(event) == []
    assert form.outcome.status == "in_progress"
    form.event(done())
    assert form.ended
    assert form.outcome == Outcome("completed", "another one", Usage(3, 5, False), total_ms=2_000)


def test_the_object_repeats_what_was_asked() -> None:
    head = Head(
        1,
        "echo",
        HEAD.input,
        "be kind",
        "resp_0",
        Params(temperature=0.0, top_p=0.5, max_tokens=9),
        {"a": "b"},
        background=True,
        store=False,
    )
    found = response_object(ID, head, Outcome("in_progress"))
    assert found == {
        **RESPONSE,
        "created_at": 1,
        "instructions": "be kind",
        "previous_response_id": "resp_0",
        "temperature": 0.0,
        "top_p": 0.5,
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "background": True,
        "store": False,
    }


def test_input_items_are_exactly_this() -> None:
    head = Head(1, "echo", (Turn("user", "Hello"), Turn("assistant", "Hi")))
    base = {"type": "message", "status": "completed"}
    assert input_items(ID, head) == {
        "object": "list",
        "data": [
            {"id": ID.input_item(1), **base, "role": "assistant", "content": [part("Hi")]},
            {"id": ID.input_item(0), **base, "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        ],
        "first_id": ID.input_item(1),
        "last_id": ID.input_item(0),
        "has_more": False,
    }
