import pickle
import struct

import pytest

from shared.brokers.manager.wire import Wire


def message(kind: str, result: object) -> bytes:
    data = pickle.dumps((kind, result))
    return struct.pack("!i", len(data)) + data


class Transport:
    """What a wire needs of one."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def lost() -> list[Wire]:
    return []


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def wire(lost: list[Wire], transport: Transport) -> Wire:
    wire = Wire("ident", lost.append)
    wire.connection_made(transport)  # type: ignore[arg-type]
    return wire


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000])
def test_answers_come_in_order_however_they_are_split(wire: Wire, size: int) -> None:
    answers: list[object] = []
    for _ in range(3):
        wire.request("method", (), answers.append)
    stream = b"".join(message("#RETURN", text) for text in (b"one", b"", b"x" * 300))
    for at in range(0, len(stream), size):
        wire.data_received(stream[at : at + size])
    assert answers == [b"one", b"", b"x" * 300]


def test_a_request_is_what_a_manager_reads(wire: Wire, transport: Transport) -> None:
    wire.request("method", (b"data", 3), lambda result: None)
    assert struct.unpack("!i", transport.written[:4]) == (len(transport.written) - 4,)
    assert pickle.loads(transport.written[4:]) == ("ident", "method", (b"data", 3), {})


def test_an_answer_that_is_none_ends_the_wire(wire: Wire, transport: Transport) -> None:
    answers: list[object] = []
    wire.request("method", (), answers.append)
    wire.data_received(message("#TRACEBACK", "KeyError"))
    assert answers == []
    assert transport.closed


def test_the_end_is_told_once_and_requests_after_it_vanish(wire: Wire, transport: Transport, lost: list[Wire]) -> None:
    wire.connection_lost(None)
    wire.request("method", (), lambda result: None)
    wire.close()
    assert lost == [wire]
    assert transport.written == b""
