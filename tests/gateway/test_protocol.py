"""The JSON dialect as a table: a frame in, actions or frames out."""

import json
from typing import Any

import pytest

from gateway.dialect import Action, Ask, Begin, Close, Resume, Say, Stop
from gateway.protocol import JsonDialect
from shared.errors import BrokerUnavailable, Busy, SessionNotFound
from shared.messages import (
    Cursor,
    Delta,
    Done,
    Event,
    Failed,
    Item,
    Receipt,
    Started,
    Takeover,
    Timing,
    Usage,
    encode_events,
)
from shared.request import Params

CURSOR = "1700000000000-2-7-00c0ffee"
AFTER = Cursor(1_700_000_000_000, 2, 7, "00c0ffee")
BIG = "9" * 5000
DEEP = 100_000


def receive(text: str, *before: str) -> list[Action]:
    """What a frame asks for, on a connection that has sent the others before."""
    dialect = JsonDialect()
    for one in before:
        dialect.receive(one)
    return list(dialect.receive(text))


def said(actions: list[Action]) -> dict[str, Any]:
    """The one frame that is answered, and nothing besides."""
    (action,) = actions
    assert isinstance(action, Say)
    found: dict[str, Any] = json.loads(action.payload)
    return found


def frames(payloads: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in payloads]


def item(*events: Event, first: int = 0, attempt: int = 1) -> Item:
    return Item("s_1", 42, attempt, "00c0ffee", "m1", first, len(events), 0, encode_events(events), 0)


# --- what clients ask for -------------------------------------------------------------------------------------------

START = '{"type":"start"}'
PARAMS = '{"temperature":0.5,"max_tokens":10,"top_p":1,"stop":["a","b"],"seed":-3}'


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        (START, [Begin(None, None)]),
        ('{"type":"start","system":"Be kind.","model":"echo"}', [Begin("Be kind.", "echo")]),
        ('{"type":"start","system":null,"model":null}', [Begin(None, None)]),
        ('{"type":"resume","session_id":"s_1"}', [Resume("s_1", None)]),
        ('{"type":"resume","session_id":"s_1","after":null}', [Resume("s_1", None)]),
        (f'{{"type":"resume","session_id":"s_1","after":"{CURSOR}"}}', [Resume("s_1", AFTER)]),
        ('{"type":"message","id":"m1","content":"Hi"}', [Begin(None, None), Ask("m1", "Hi")]),
        ('{"content":"Hi","id":"m1","type":"message"}', [Begin(None, None), Ask("m1", "Hi")]),
        ('{"type":"message","id":"m1","content":" "}', [Begin(None, None), Ask("m1", " ")]),
        ('{"type":"message","id":"m1","content":"\\ud83d\\ude00\\u0000"}', [Begin(None, None), Ask("m1", "😀\0")]),
        (
            f'{{"type":"message","id":"m1","content":"Hi","model":"big","params":{PARAMS}}}',
            [Begin(None, None), Ask("m1", "Hi", "big", Params(0.5, 10, 1.0, ("a", "b"), -3))],
        ),
        (
            '{"type":"message","id":"m1","content":"Hi","params":{"stop":"x","top_k":5,"temperature":null}}',
            [Begin(None, None), Ask("m1", "Hi", None, Params(stop="x"))],
        ),
        ('{"type":"cancel","id":"m1"}', [Stop("m1")]),
        ('{"type":"ping"}', [Say(b'{"type":"pong"}')]),
        ('{"type":"ping","nonce":"x"}', [Say(b'{"type":"pong","nonce":"x"}')]),
        ('{"type":"ping","nonce":0}', [Say(b'{"type":"pong","nonce":0}')]),
        (f'{{"type":"ping","nonce":{"9" * 40}}}', [Say(b'{"type":"pong","nonce":%s}' % (b"9" * 40))]),
        (' \n{ "type" : "ping" }\t', [Say(b'{"type":"pong"}')]),
        ('{"type":"ping","unknown":{"deep":[1,{}]}}', [Say(b'{"type":"pong"}')]),
        (f'{{"type":"ping","unknown":{BIG}}}', [Say(b'{"type":"pong"}')]),
        ('{"type":"ping","type":"cancel","id":"a","id":"b"}', [Stop("b")]),
    ],
)
def test_a_frame_asks_for(text: str, actions: list[Action]) -> None:
    assert receive(text) == actions


@pytest.mark.parametrize("before", [START, '{"type":"resume","session_id":"s_1"}'])
def test_a_message_of_a_session_that_is_begun_does_not_begin_another(before: str) -> None:
    assert receive('{"type":"message","id":"m1","content":"Hi"}', before) == [Ask("m1", "Hi")]


def test_only_the_first_message_begins_a_session() -> None:
    first = '{"type":"message","id":"m1","content":"Hi"}'
    assert receive('{"type":"message","id":"m2","content":"Ho"}', first) == [Ask("m2", "Ho")]


# --- what is not the protocol ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        '{"type":"ping"',
        '{"type":"ping"}x',
        "{'type':'ping'}",
        '\ufeff{"type":"ping"}',
        '{"type":"ping","nonce":NaN}',
        '{"type":"ping","x":Infinity}',
        '{"type":"ping","x":01}',
        '{"type":"ping","x":"\n"}',
        '{"type":"ping","nonce":"\\ud800"}',
        '{"type":"message","id":"m1","content":"\\udc00\\ud800"}',
        "null",
        "5",
        '"ping"',
        "[]",
        '[{"type":"ping"}]',
        "{}",
        '{"content":"Hi"}',
        '{"type":null}',
        '{"type":5}',
        '{"type":["ping"]}',
        '{"Type":"ping"}',
        "[" * DEEP,
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        '{"type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}",
        '{"type":"message","id":"m1","content":"Hi","params":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}",
    ],
    ids=lambda text: text[:40],
)
def test_what_is_not_the_protocol_is_closed_with_4400(text: str) -> None:
    (action,) = receive(text)
    assert isinstance(action, Close)
    assert action.code == 4400
    assert len(action.reason.encode()) <= 123  # what a close frame can carry


def test_a_connection_survives_the_frame_that_is_only_wrong() -> None:
    dialect = JsonDialect()
    dialect.receive('{"type":"message"}')
    assert dialect.receive('{"type":"message","id":"m1","content":"Hi"}') == [Begin(None, None), Ask("m1", "Hi")]


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "hello", "Ping", "delta", "session", "error", "x" * 60_000, "\0\n", "_message"])
def test_an_unknown_type_is_answered(kind: str) -> None:
    frame = said(receive(json.dumps({"type": kind})))
    assert set(frame) == {"type", "code", "message", "retryable"}
    assert (frame["type"], frame["code"], frame["retryable"]) == ("error", "unknown_type", False)
    assert len(frame["message"]) < 300


def test_an_unknown_type_with_an_id_says_which_frame_was_meant() -> None:
    assert said(receive('{"type":"regenerate","id":"m7"}'))["id"] == "m7"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"type":"start","system":5}', "$.system"),
        ('{"type":"start","model":""}', "$.model"),
        ('{"type":"start","model":["echo"]}', "$.model"),
        ('{"type":"resume"}', "session_id"),
        ('{"type":"resume","session_id":5}', "$.session_id"),
        ('{"type":"resume","session_id":""}', "$.session_id"),
        ('{"type":"resume","session_id":"s_1","after":5}', "$.after"),
        ('{"type":"resume","session_id":"s_1","after":""}', "$.after"),
        ('{"type":"resume","session_id":"s_1","after":"1-1-1-00c0ffe"}', "$.after"),
        ('{"type":"resume","session_id":"s_1","after":"-1-1-1-00c0ffee"}', "$.after"),
        (f'{{"type":"resume","session_id":"s_1","after":"{BIG}-1-1-00c0ffee"}}', "$.after"),
        (f'{{"type":"resume","session_id":"s_1","after":"{CURSOR}\\n"}}', "$.after"),
        ('{"type":"message","content":"Hi"}', "id"),
        ('{"type":"message","id":5,"content":"Hi"}', "$.id"),
        ('{"type":"message","id":"","content":"Hi"}', "$.id"),
        ('{"type":"message","id":null,"content":"Hi"}', "$.id"),
        (f'{{"type":"message","id":"{"x" * 257}","content":"Hi"}}', "$.id"),
        ('{"type":"message","id":"m1"}', "content"),
        ('{"type":"message","id":"m1","content":""}', "$.content"),
        ('{"type":"message","id":"m1","content":null}', "$.content"),
        ('{"type":"message","id":"m1","content":["Hi"]}', "$.content"),
        ('{"type":"message","id":"m1","content":"Hi","model":5}', "$.model"),
        ('{"type":"message","id":"m1","content":"Hi","params":[]}', "$.params"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"temperature":"hot"}}', "$.params.temperature"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"temperature":-0.1}}', "$.params.temperature"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"temperature":2.1}}', "$.params.temperature"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"temperature":1e999}}', "$.params.temperature"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"max_tokens":0}}', "$.params.max_tokens"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"max_tokens":1.5}}', "$.params.max_tokens"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"max_tokens":true}}', "$.params.max_tokens"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"top_p":1.01}}', "$.params.top_p"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"stop":5}}', "$.params.stop"),
        ('{"type":"message","id":"m1","content":"Hi","params":{"stop":["a",5]}}', "$.params.stop[1]"),
        (f'{{"type":"message","id":"m1","content":"Hi","params":{{"seed":{1 << 63}}}}}', "$.params.seed"),
        (f'{{"type":"message","id":"m1","content":"Hi","params":{{"seed":{BIG}}}}}', "$.params.seed"),
        ('{"type":"cancel"}', "id"),
        ('{"type":"cancel","id":5}', "$.id"),
        ('{"type":"cancel","id":""}', "$.id"),
        ('{"type":"ping","nonce":[]}', "$.nonce"),
        ('{"type":"ping","nonce":1.5}', "$.nonce"),
        (f'{{"type":"ping","nonce":{BIG}}}', "$.nonce"),
    ],
    ids=lambda text: text[:90],
)
def test_wrong_fields_are_answered_by_name(text: str, path: str) -> None:
    frame = said(receive(text))
    id = json.loads(text, parse_int=str).get("id") if '"id":"' in text else None
    assert set(frame) == {"type", "code", "message", "retryable"} | ({"id"} if id is not None else set())
    assert (frame["type"], frame["code"], frame["retryable"]) == ("error", "invalid_message", False)
    assert f"`{path}`" in frame["message"]
    assert frame.get("id") == id


@pytest.mark.parametrize(
    "first", [START, '{"type":"resume","session_id":"s_1"}', '{"type":"message","id":"m","content":"x"}']
)
@pytest.mark.parametrize("second", [START, '{"type":"resume","session_id":"s_2"}'])
def test_a_connection_has_one_session(first: str, second: str) -> None:
    frame = said(receive(second, first))
    assert (frame["code"], frame["retryable"]) == ("invalid_message", False)
    assert "id" not in frame


@pytest.mark.parametrize("wrong", ['{"type":"start","model":5}', '{"type":"resume","session_id":"s_1","after":"x"}'])
def test_a_wrong_start_begins_nothing(wrong: str) -> None:
    assert receive(START, wrong) == [Begin(None, None)]


def test_a_wrong_cursor_is_answered_with_the_id_of_its_frame() -> None:
    assert said(receive('{"type":"resume","session_id":"s_1","after":"x","id":"r1"}'))["id"] == "r1"


def test_who_got_no_session_may_try_again() -> None:
    dialect = JsonDialect()
    dialect.receive('{"type":"resume","session_id":"s_1"}')

    assert frames(dialect.not_joined(SessionNotFound())) == [
        {"type": "error", "code": "session_not_found", "message": SessionNotFound.sentence, "retryable": False}
    ]
    assert dialect.receive(START) == [Begin(None, None)]


# --- what the server says -------------------------------------------------------------------------------------------


def test_the_frames_without_a_cursor() -> None:
    dialect = JsonDialect()
    assert frames(
        [
            *dialect.joined("s_1", resumed=False, recovered=True, open=[]),
            *dialect.joined("s_1", resumed=True, recovered=False, open=["m1"]),
            *dialect.lost("s_1", pending=False, open=["m2"]),
            *dialect.accepted("m1", 0),
            *dialect.queued("m1", 3),
            *dialect.refused("m1", Busy("Nine.")),
            *dialect.refused(None, BrokerUnavailable("Away.")),
            *dialect.going_away(700),
        ]
    ) == [
        {"type": "session", "session_id": "s_1", "resumed": False, "recovered": True, "open": []},
        {"type": "session", "session_id": "s_1", "resumed": True, "recovered": False, "open": ["m1"]},
        {"type": "session", "session_id": "s_1", "resumed": True, "recovered": False, "open": ["m2"]},
        {"type": "accepted", "id": "m1", "queue_position": 0},
        {"type": "queued", "id": "m1", "queue_position": 3},
        {"type": "error", "code": "busy", "message": "Nine.", "retryable": True, "id": "m1"},
        {"type": "error", "code": "broker_unavailable", "message": "Away.", "retryable": True},
        {"type": "going_away", "retry_after_ms": 700},
    ]


DONE = Done("stop", Usage(3, 4, True), Timing(1, None, 9), "5ha")
CANCELLED = Done("cancelled", Usage(3, 4, True), Timing(1, 2, 9), "5ha", Receipt(None, 4, None))
DONE_FRAME = {
    "type": "done",
    "id": "m1",
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "estimated": True},
    "timing": {"queue_ms": 1, "first_token_ms": None, "total_ms": 9},
    "text_sha256": "5ha",
}
EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (Started("echo"), {"type": "started", "id": "m1", "attempt": 2, "model": "echo"}),
    (Delta('a\n"😀\0'), {"type": "delta", "id": "m1", "text": 'a\n"😀\0'}),
    (Delta(""), {"type": "delta", "id": "m1", "text": ""}),
    (Takeover(True), {"type": "takeover", "id": "m1", "attempt": 2, "exact": True}),
    (Takeover(False), {"type": "takeover", "id": "m1", "attempt": 2, "exact": False}),
    (DONE, DONE_FRAME),
    (
        CANCELLED,
        DONE_FRAME
        | {
            "finish_reason": "cancelled",
            "timing": {"queue_ms": 1, "first_token_ms": 2, "total_ms": 9},
            "receipt": {"generated": None, "delivered": 4, "stop_ms": None},
        },
    ),
    (
        Failed("engine_error", "It broke.", True),
        {"type": "error", "code": "engine_error", "message": "It broke.", "retryable": True, "id": "m1"},
    ),
]


@pytest.mark.parametrize(("event", "frame"), EVENTS)
def test_an_event_is_a_frame_with_a_cursor(event: Event, frame: dict[str, Any]) -> None:
    dialect = JsonDialect()
    assert frames(dialect.events(item(event, first=5, attempt=2), 0)) == [frame | {"cursor": "42-2-5-00c0ffee"}]


def test_the_cursor_of_each_event_is_one_that_can_be_resumed_from() -> None:
    found = frames(JsonDialect().events(item(*(event for event, _ in EVENTS), first=3), 0))
    cursors = [Cursor.parse(frame["cursor"]) for frame in found]
    assert cursors == [Cursor(42, 1, seq, "00c0ffee") for seq in range(3, 3 + len(EVENTS))]


@pytest.mark.parametrize("skip", range(len(EVENTS) + 1))
def test_what_is_replayed_is_byte_for_byte_what_was_live(skip: int) -> None:
    whole = item(*(event for event, _ in EVENTS), first=3)
    assert JsonDialect().events(whole, skip) == JsonDialect().events(whole, 0)[skip:]
