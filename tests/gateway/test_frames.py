import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from gateway.frames import Boundary, text_frame, whole_text


@pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 127, 65_535, 65_536, 70_000])
def test_the_websockets_library_reads_back_what_was_framed(size: int) -> None:
    client = Protocol(CLIENT, max_size=None)
    payload = bytes(97 + i % 26 for i in range(size))

    client.receive_data(text_frame(payload) + text_frame(b"next"))

    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    assert [(frame.opcode, frame.fin, bytes(frame.data)) for frame in frames] == [
        (Opcode.TEXT, True, payload),
        (Opcode.TEXT, True, b"next"),
    ]
    assert client.parser_exc is None


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_the_frame_is_the_very_one_that_the_library_would_send(size: int) -> None:
    server = Protocol(SERVER)
    server.send_text(b"x" * size)

    assert text_frame(b"x" * size) == b"".join(server.data_to_send())


# --- what clients send ----------------------------------------------------------------------------------------------


def client_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 5000, 65_535])
def test_a_whole_text_frame_is_known(size: int) -> None:
    payload = bytes(index % 128 for index in range(size))
    assert whole_text(client_frame(1, payload)) == payload


def test_everything_else_is_left_to_the_parser() -> None:
    text = client_frame(1, b"hello")
    others = [
        b"",
        text[:-1],
        text + b"\x81",
        text + text,
        client_frame(2, b"hello"),
        client_frame(9, b"ping"),
        client_frame(1, b"begin", fin=False),
        Frame(Opcode.TEXT, b"unmasked").serialize(mask=False),
        client_frame(1, bytes(65_536)),
        b"\x81\xfe\x00\x05" + text[2:],  # a length in a longer form than needed
        b"\xc1" + text[1:],  # a reserved bit
    ]
    assert [other for other in others if whole_text(other) is not None] == []


messages = st.lists(
    st.one_of(
        st.builds(lambda size: [client_frame(1, bytes(size))], st.sampled_from([0, 5, 125, 126, 300, 70_000])),
        st.just([client_frame(1, b"a", fin=False), client_frame(9, b"p"), client_frame(0, b"b")]),
        st.just([client_frame(9, b"")]),
    ),
    max_size=6,
)


@given(messages, st.data())
def test_a_boundary_is_known_however_the_bytes_are_split(parts: list[list[bytes]], data: st.DataObject) -> None:
    stream, ends = b"", {0}
    for message in parts:
        stream += b"".join(message)
        ends.add(len(stream))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)) | ends)
    boundary, at = Boundary(), 0
    for cut in cuts:
        assert boundary.feed(stream[at:cut]) == (cut in ends)
        at = cut
