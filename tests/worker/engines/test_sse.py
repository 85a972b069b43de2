import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engines.sse import MAX_BYTES, EventParser, TooLong


def parse(*parts: bytes, max_bytes: int = MAX_BYTES) -> list[bytes]:
    parser = EventParser(max_bytes)
    return [event for part in parts for event in parser.feed(part)] + parser.end()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data:one\n\n", [b"one"]),
        (b"data:  one \n\n", [b" one "]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"data: one\n\r\ndata: two\r\n\n", [b"one", b"two"]),
        (b": ping\n\n: ping\n\ndata: one\n: ping\ndata: two\n\n", [b"one\ntwo"]),
        (b"event: message\nid: 7\nretry: 10\ndata: one\n\nevent: none\n\n", [b"one"]),
        (b"data\n\ndata: \n\n", [b"", b""]),
        (b"database: no\n\n data: no\n\n", []),
        (b"data: a: b\n\n", [b"a: b"]),
        (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
        (b"data: one\n\ndata: two", [b"one", b"two"]),
        (b"data: one\n\ndata: two\n", [b"one", b"two"]),
        (b"\n\n\n", []),
        (b"", []),
        # Line ends of str, but not of this format.
        ("data: a\x0bb\x0cc\x1cd\x85e\u2028f\n\n".encode(), ["a\x0bb\x0cc\x1cd\x85e\u2028f".encode()]),
    ],
)
def test_the_data_of_each_event(stream: bytes, events: list[bytes]) -> None:
    assert parse(stream) == events


def test_an_event_is_given_as_soon_as_its_end_is_there() -> None:
    parser = EventParser()

    assert parser.feed(b"data: one\r\n") == []
    assert parser.feed(b"\r") == [b"one"]
    assert parser.feed(b"\ndata: tw") == []
    assert parser.feed(b"o\n\n") == [b"two"]
    assert parser.end() == []


def test_characters_may_be_cut() -> None:
    stream = "data: Größe 🐦\n\n".encode()

    assert [event.decode() for event in parse(*(bytes([byte]) for byte in stream))] == ["Größe 🐦"]


LINES = st.sampled_from(
    [
        b"data: ",
        b"data:x",
        b"data",
        b": ping",
        b"event: e",
        b"",
        b"",
        "data: ä🐦".encode(),
        b"\xef\xbb\xbfdata: b",
        b"data: $",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b""])
STREAMS = st.lists(st.tuples(LINES, ENDS)).map(lambda parts: b"".join(line + end for line, end in parts))


@given(STREAMS | st.binary(max_size=80), st.data())
def test_every_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert parse(*parts) == parse(stream)
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 20,
        b"data: " + b"x" * 20 + b"\n\n",
        b": " + b"x" * 20 + b"\n",
        b"data: 12345\ndata: 67890\ndata: 1\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_nothing_grows_without_bound(stream: bytes, size: int) -> None:
    parts = [stream[start : start + size] for start in range(0, len(stream), size)]

    with pytest.raises(TooLong):
        parse(*parts, max_bytes=16)


def test_the_bound_is_one_of_lines_and_events_not_of_streams() -> None:
    stream = b": ping\n" * 10 + b"data: 1234567890\n\n" * 10

    assert parse(*(bytes([byte]) for byte in stream), max_bytes=16) == [b"1234567890"] * 10
