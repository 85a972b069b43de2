import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from gateway.ws.frames import text_frame


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
