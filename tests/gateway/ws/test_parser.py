"""Every rule of RFC 6455 about a client's frames, and the `websockets` library as the judge of all that is between."""

import sys
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.ws.parser import Binary, Close, Event, Parser, Ping, Pong, Text, Violation, whole_text
from tests.gateway.ws.framing import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame

LIMIT = 1000


def events(data: bytes | Iterable[bytes], limit: int = LIMIT) -> Iterator[Event]:
    """What a parser makes of it; Violation comes behind what was right."""
    parser = Parser(limit)
    for piece in [data] if isinstance(data, bytes) else data:
        parser.feed(piece)
        while (event := parser.next()) is not None:
            yield event


def violation(data: bytes | Iterable[bytes], limit: int = LIMIT) -> int:
    with pytest.raises(Violation) as found:
        list(events(data, limit))
    assert 0 < len(found.value.reason.encode()) <= 123
    return found.value.code


def octets(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


# --- what is right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 999, 1000])
def test_messages_of_every_size_come_whole(size: int) -> None:
    payload = bytes(index % 128 for index in range(size))
    stream = frame(TEXT, payload) + frame(BINARY, payload)
    assert list(events(stream)) == [Text(payload.decode()), Binary(payload)]
    assert list(events(octets(stream))) == [Text(payload.decode()), Binary(payload)]


def test_a_long_message_in_the_longest_form() -> None:
    payload = b"x" * 70_000
    stream = frame(TEXT, payload)
    pieces = [stream[at : at + 1400] for at in range(0, len(stream), 1400)]
    assert list(events(pieces, 70_000)) == [Text(payload.decode())]


def test_control_frames_come_between_fragments() -> None:
    stream = b"".join(
        [
            frame(TEXT, b"a", fin=False),
            frame(PING, b"p"),
            frame(CONT, b"b", fin=False),
            frame(PONG),
            frame(CONT, b"", fin=True),
            frame(BINARY, b"", fin=False),
            frame(CONT, b"\xff"),
            frame(CLOSE, b"\x03\xe8bye"),
        ]
    )
    expected = [Ping(b"p"), Pong(b""), Text("ab"), Binary(b"\xff"), Close(1000, "bye")]
    assert list(events(stream)) == expected
    assert list(events(octets(stream))) == expected


@pytest.mark.parametrize("character", ["ü", "€", "😀"])
def test_a_character_may_be_split_between_fragments(character: str) -> None:
    payload = f"<{character}>".encode()
    for cut in range(len(payload) + 1):
        stream = frame(TEXT, payload[:cut], fin=False) + frame(CONT, b"", fin=False) + frame(CONT, payload[cut:])
        assert list(events(stream)) == [Text(f"<{character}>")]


@pytest.mark.parametrize(("payload", "event"), [(b"", Close(1005, "")), (b"\x03\xe8", Close(1000, ""))])
def test_a_close_need_not_say_why(payload: bytes, event: Close) -> None:
    assert list(events(frame(CLOSE, payload))) == [event]


def test_a_close_may_come_between_fragments() -> None:
    assert list(events(frame(TEXT, b"a", fin=False) + frame(CLOSE))) == [Close(1005, "")]


def test_a_message_of_exactly_the_limit_passes_in_pieces_too() -> None:
    stream = frame(TEXT, b"x" * 400, fin=False) + frame(CONT, b"y" * 600)
    assert list(events(stream)) == [Text("x" * 400 + "y" * 600)]
    assert list(events(stream + stream)) == [Text("x" * 400 + "y" * 600)] * 2


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        *(frame(TEXT, b"x", rsv=rsv) for rsv in range(1, 8)),
        frame(PING, b"x", rsv=4),
        *(frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        frame(TEXT, b"hello", masked=False),
        frame(TEXT, b"", masked=False),
        frame(PING, b"", masked=False),
        frame(CONT, b"x"),
        frame(CONT, b"x", fin=False),
        frame(TEXT, b"a") + frame(CONT, b"b"),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),
        frame(TEXT, b"", fin=False) + frame(TEXT, b""),
        *(frame(opcode, b"x", fin=False) for opcode in (CLOSE, PING, PONG)),
        *(frame(opcode, b"x" * 126) for opcode in (CLOSE, PING, PONG)),
        frame(PING, form=8, length=1 << 40),
        frame(TEXT, b"x" * 125, form=2),
        frame(TEXT, b"", form=2),
        frame(TEXT, b"x" * 125, form=8),
        frame(TEXT, b"x" * 200, form=8),
        frame(TEXT, form=8, length=65_535),
        frame(TEXT, form=8, length=1 << 63),
        frame(CLOSE, b"\x03"),
        *(frame(CLOSE, code.to_bytes(2, "big")) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)),
    ],
    ids=lambda data: data[:8].hex(),
)
def test_a_broken_rule_is_1002(data: bytes) -> None:
    assert violation(data) == 1002
    assert violation(octets(data)) == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    assert list(events(frame(CLOSE, code.to_bytes(2, "big") + b"why"))) == [Close(code, "why")]


BAD_TEXT = [
    b"\xff",
    b"\xc3\x28",
    b"\x80",
    b"\xc0\x80",  # an overlong zero
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",  # a surrogate
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xf5",
    b"\xfe",
    b"ab\xe2\x82",  # ends in a character
    b"\xc3",
]


@pytest.mark.parametrize("text", BAD_TEXT)
def test_bad_utf8_is_1007_wherever_it_is_split(text: bytes) -> None:
    assert violation(frame(TEXT, text)) == 1007
    assert violation(octets(frame(TEXT, text))) == 1007
    assert violation(frame(CLOSE, b"\x03\xe8" + text)) == 1007
    for cut in range(len(text) + 1):
        assert violation(frame(TEXT, text[:cut], fin=False) + frame(CONT, text[cut:])) == 1007


@pytest.mark.parametrize("text", BAD_TEXT[:9])
def test_bad_utf8_is_found_before_its_message_ends(text: bytes) -> None:
    assert violation(frame(TEXT, b"begins " + text, fin=False)) == 1007
    assert violation(frame(TEXT, b"begins " + text + b" and goes on")[:-8]) == 1007
    assert violation(frame(TEXT, text[:1], fin=False) + frame(CONT, text[1:] + b"x", fin=False)) == 1007


def test_binary_is_not_text() -> None:
    assert list(events(frame(BINARY, b"\xc3", fin=False) + frame(CONT, b"\x28"))) == [Binary(b"\xc3\x28")]


def test_what_was_right_comes_before_what_is_wrong() -> None:
    found = events(frame(TEXT, b"fine") + frame(PING) + frame(3))
    assert [next(found), next(found)] == [Text("fine"), Ping(b"")]
    with pytest.raises(Violation):
        next(found)


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, length=LIMIT + 1)[:4],  # the announcement alone, without its mask
        frame(BINARY, length=64 << 20)[:10],
        frame(TEXT, length=(1 << 63) - 1)[:10],
        frame(TEXT, b"x" * 600, fin=False) + frame(CONT, length=401)[:4],
        frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONT, b"y")[:2],
    ],
)
def test_too_large_is_1009_as_soon_as_it_is_announced(data: bytes) -> None:
    assert violation(data) == 1009
    assert violation(octets(data)) == 1009


def memory(data: Iterable[bytes]) -> int:
    """Bytes that a parser holds after all of it, which is no whole message."""
    parser = Parser(65_536)
    tracemalloc.start()
    try:
        for piece in data:
            parser.feed(piece)
            assert parser.next() is None
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert not parser.idle
    return held


def test_tiny_fragments_take_no_more_than_the_limit() -> None:
    tiny, empty = frame(CONT, b"y", fin=False), frame(CONT, b"", fin=False)
    assert memory([frame(TEXT, b"x", fin=False), 30_000 * tiny, *[1_000 * empty] * 5]) < 1.3 * 65_536


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nor_do_a_million() -> None:
    tiny, empty = frame(CONT, b"y", fin=False), frame(CONT, b"", fin=False)
    assert memory([frame(TEXT, b"x", fin=False), 60_000 * tiny, *[10_000 * empty] * 94]) < 1.3 * 65_536


def test_a_message_byte_by_byte_takes_no_more_than_the_limit() -> None:
    assert memory(octets(frame(TEXT, b"x" * 20_000)[:-1])) < 1.3 * 20_000 + 1_000


def test_a_read_is_let_go_of_when_it_is_used_up() -> None:
    parser = Parser(LIMIT)
    read = frame(TEXT, b"x" * 900) + frame(PING, b"y")[:3]
    count = sys.getrefcount(read)
    parser.feed(read)
    assert parser.next() == Text("x" * 900)
    assert parser.next() is None
    assert sys.getrefcount(read) == count


def test_a_parser_is_idle_between_messages_only() -> None:
    stream = frame(TEXT, b"a", fin=False) + frame(PING, b"") + frame(CONT, b"b")
    parser = Parser(LIMIT)
    idle = []
    for byte in octets(stream):
        idle.append(parser.idle)
        parser.feed(byte)
        while parser.next() is not None:
            pass
    assert idle == [True] + [False] * (len(stream) - 1)
    assert parser.idle


# --- the short way --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 127, 5000, 65_535])
def test_a_read_that_is_one_text_message_is_known(size: int) -> None:
    payload = bytes(index % 128 for index in range(size))
    assert whole_text(frame(TEXT, payload), 65_536) == payload


def test_everything_else_is_left_to_the_parser() -> None:
    text = frame(TEXT, b"hello")
    others = [
        b"",
        b"\x81",
        text[:-1],
        text + b"\x81",
        text + text,
        frame(BINARY, b"hello"),
        frame(PING, b"ping"),
        frame(TEXT, b"begin", fin=False),
        frame(TEXT, b"unmasked", masked=False),
        frame(TEXT, b"x" * 130, masked=False),
        frame(TEXT, bytes(65_536)),
        frame(TEXT, bytes(5), form=2),
        frame(TEXT, bytes(200), form=8),
        frame(TEXT, b"hello", rsv=4),
        frame(TEXT, b"x" * 126)[:7],
        frame(TEXT, b"x" * 1001),
    ]
    assert [other for other in others if whole_text(other, LIMIT) is not None] == []


@given(st.binary(max_size=300))
def test_the_short_way_says_what_the_parser_says(data: bytes) -> None:
    for read in (data, frame(TEXT, data)):
        payload = whole_text(read, 250)
        if payload is not None:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                assert violation(read, 250) == 1007
            else:
                assert list(events(read, 250)) == [Text(text)]


# --- the judge ------------------------------------------------------------------------------------------------------


def judged(data: bytes, limit: int | None = LIMIT) -> tuple[list[Event], int | None]:
    """What the `websockets` library makes of it: whole messages and control frames, and the code by which it fails."""
    judge = ServerProtocol(state=State.OPEN, max_size=limit)
    judge.receive_data(data)
    found: list[Event] = []
    pieces: list[bytes] = []
    kind = Opcode.TEXT
    for one in judge.events_received():
        assert isinstance(one, Frame)
        payload = bytes(one.data)
        if one.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if one.opcode is not Opcode.CONT:
                kind, pieces = one.opcode, []
            pieces.append(payload)
            if not one.fin:
                continue
            whole = b"".join(pieces)
            if kind is Opcode.BINARY:
                found.append(Binary(whole))
                continue
            try:
                found.append(Text(whole.decode()))
            except UnicodeDecodeError:  # the library leaves it to its users
                return found, 1007
        elif one.opcode is Opcode.PING:
            found.append(Ping(payload))
        elif one.opcode is Opcode.PONG:
            found.append(Pong(payload))
        else:
            assert judge.close_rcvd is not None
            found.append(Close(judge.close_rcvd.code, judge.close_rcvd.reason))
            return found, None
    # Section 5.4 lets control frames come between fragments, and a close is one; the library does not.
    assume(str(judge.parser_exc) != "incomplete fragmented message")
    failed = judge.parser_exc is not None
    return found, judge.close_sent.code if failed and judge.close_sent is not None else None


def ours(data: bytes, cuts: list[int]) -> tuple[list[Event], int | None]:
    """The same of our parser, over any split."""
    found: list[Event] = []
    try:
        for event in events([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]):
            found.append(event)
            if isinstance(event, Close):
                return found, None
    except Violation as wrong:
        return found, wrong.code
    return found, None


texts = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 400, b"x" * 1001, *BAD_TEXT]),
)
right = st.one_of(
    st.builds(frame, st.sampled_from([TEXT, BINARY]), texts),
    st.builds(frame, st.sampled_from([TEXT, BINARY]), texts, fin=st.just(False)),
    st.builds(frame, st.just(CONT), texts, fin=st.booleans()),
    st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    st.builds(lambda code, why: frame(CLOSE, code.to_bytes(2, "big") + why), st.integers(990, 5010), texts),
)
wrong = st.builds(
    frame, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans(), rsv=st.sampled_from([0, 0, 0, 1, 2, 4])
)


def fragmented(kind: int, parts: list[bytes]) -> bytes:
    last = len(parts) - 1
    return b"".join(frame(CONT if at else kind, part, fin=at == last) for at, part in enumerate(parts))


messages = st.builds(fragmented, st.sampled_from([TEXT, BINARY]), st.lists(texts, min_size=1, max_size=4))
streams = st.lists(st.one_of(messages, messages, right, wrong), max_size=8).map(b"".join)


@given(streams, st.data())
@settings(max_examples=300, deadline=None)
@example(frame(TEXT, b"\xe2\x82", fin=False) + frame(PING) + frame(CONT, b"\xac"), None)
def test_the_websockets_library_agrees(stream: bytes, data: st.DataObject | None) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6))) if data is not None else [2, 3]
    expected, code = judged(stream)
    found, own_code = ours(stream, cuts)
    if (own_code, code) == (1002, 1009):  # a frame with two faults
        expected, code = judged(stream, None)
    if own_code == 1007 and (found, own_code) != (expected, code):
        # ours is found at once; the library's users hear of it at the message's end, where there is one
        assert found == expected[: len(found)]
        assert not any(isinstance(event, Text | Binary) for event in expected[len(found) :])
    else:
        assert (found, own_code) == (expected, code)
