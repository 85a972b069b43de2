"""Whatever a client sends: it gets the close code of RFC 6455 or a sentence, costs no more than its limit, and the
others notice nothing."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.client import connect

from gateway import server
from tests.gateway.serving import UPGRADE, Adopting, Endpoint, Served, raw_client, read_to_end, serving, until
from tests.gateway.ws.framing import BINARY, CLOSE, CONT, PING, TEXT, frame

LIMIT = 65_536
TINY = frame(CONT, b"y", fin=False)
BAD = {
    "a reserved bit": (frame(TEXT, b"x", rsv=4), 1002),
    "an unknown opcode": (frame(3, b"x"), 1002),
    "an unknown control opcode": (frame(11, b"x"), 1002),
    "not masked": (frame(TEXT, b"x", masked=False), 1002),
    "a length that is longer than it need be": (frame(TEXT, b"x", form=2), 1002),
    "a much longer one": (frame(TEXT, b"x" * 300, form=8), 1002),
    "a length with its highest bit set": (frame(TEXT, form=8, length=1 << 63), 1002),
    "a long ping": (frame(PING, b"x" * 126), 1002),
    "a fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "a continuation of nothing": (frame(CONT, b"x"), 1002),
    "a message in a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "a close code that is never sent": (frame(CLOSE, b"\x03\xed"), 1002),
    "a close code out of range": (frame(CLOSE, b"\x27\x0f"), 1002),
    "a reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "not UTF-8": (frame(TEXT, b"\xc3\x28"), 1007),
    "not UTF-8 at a fragment's border": (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\x28", fin=False), 1007),
    "an unfinished character": (frame(TEXT, b"\xe2\x82"), 1007),
    "one byte too much": (frame(TEXT, b"x" * (LIMIT + 1)), 1009),
    "one byte too much, in fragments": (frame(TEXT, b"x" * LIMIT, fin=False) + TINY, 1009),
    "64 MiB, announced": (frame(TEXT, length=64 << 20), 1009),
    "64 MiB, announced in fragments": (frame(TEXT, b"x", fin=False) + frame(CONT, length=64 << 20), 1009),
    "tiny fragments without end": (frame(TEXT, b"x", fin=False) + TINY * (LIMIT + 100), 1009),
}


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A client's fault is no news."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A close has little time."""
    monkeypatch.setattr(server, "CLOSE_TIMEOUT", 0.02)


@asynccontextmanager
async def opened(served: Served) -> AsyncIterator[socket.socket]:
    """A client that has been let in."""
    async with raw_client(served.port) as client:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await asyncio.get_running_loop().sock_recv(client, 1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield client


async def send(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


# --- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Endpoint, Adopting])
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_frame_gets_its_code_and_then_the_end(name: str, kind: type[Endpoint] | type[Adopting]) -> None:
    data, code = BAD[name]
    app = kind()
    async with serving(app) as served:
        async with opened(served) as client:
            await send(client, frame(TEXT, b"before"))
            assert await app.received.get() == "before"
            await send(client, data)
            answer = await read_to_end(client)
            assert answer[:1] == b"\x88"
            assert int.from_bytes(answer[2:4], "big") == code
            assert len(answer) == 2 + answer[1]  # nothing behind it
        await until(lambda: not served.state.connections)
    assert app.received.empty()


async def test_who_is_still_sending_is_not_reset_before_it_could_read_why() -> None:
    async with serving(Adopting()) as served, opened(served) as client:
        await send(client, frame(BINARY, b"x" * LIMIT, length=64 << 20)[:-LIMIT])
        for _ in range(100):
            await send(client, b"x" * 10_000)
            await asyncio.sleep(0)
        assert (await read_to_end(client))[2:4] == (1009).to_bytes(2, "big")


@pytest.mark.usefixtures("hasty")
async def test_who_sends_on_for_ever_after_a_fault_is_dropped() -> None:
    async with serving(Adopting()) as served, opened(served) as client:
        await send(client, frame(3))
        with pytest.raises(OSError, match=r"pipe|reset"):
            await send_for_ever(client, b"x" * 10_000)
        await until(lambda: not served.state.connections)


@pytest.mark.parametrize("sent", [b"\x81", frame(TEXT, b"half a message")[:-3], frame(TEXT, b"x", fin=False)])
async def test_half_a_frame_and_silence_are_ended_by_the_pings(sent: bytes) -> None:
    app = Adopting()
    async with serving(app, ping_interval=0.05) as served, opened(served) as client:
        await send(client, sent)
        answer = await read_to_end(client)
        assert answer.endswith(b"\x88\x18\x03\xf3keepalive ping timeout")
        await app.gone.get()


async def test_a_ping_answer_in_the_middle_of_a_message_counts() -> None:
    app = Adopting()
    async with serving(app, ping_interval=0.05) as served, opened(served) as client:
        await send(client, frame(TEXT, b"a", fin=False))
        for _ in range(3):
            assert await asyncio.get_running_loop().sock_recv(client, 2) == b"\x89\x00"
            await send(client, frame(10))
        await send(client, frame(CONT, b"b"))
        assert await app.received.get() == "ab"


async def test_pings_of_one_that_does_not_read_do_not_pile_up() -> None:
    app = Adopting(room=1000)
    async with serving(app) as served, opened(served) as client:
        connection = await app.opened.get()
        sending = asyncio.create_task(send_for_ever(client, 100 * frame(PING, b"p" * 125)))
        await until(lambda: connection.full)
        most = 0
        for _ in range(20):
            await asyncio.sleep(0.005)
            most = max(most, connection.buffered())
        assert most < 1000 + 127 * 2
        sending.cancel()
        connection.abort()
        with suppress(asyncio.CancelledError, OSError):
            await sending


async def send_for_ever(client: socket.socket, data: bytes) -> None:
    while True:
        await send(client, data)


async def test_many_messages_at_once_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, at = 0, []
    over = asyncio.Event()

    class Counting(Adopting):
        async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
            await super().__call__(scope, receive, send)
            connection = await self.opened.get()
            monkeypatch.setattr(connection._listener, "on_text", take)

    def take(text: str) -> None:
        at.append(turns)
        if len(at) == 5000:
            over.set()

    async with serving(Counting()) as served, opened(served) as client:
        await send(client, 5000 * frame(TEXT, b"x"))
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)
    assert max(at.count(turn) for turn in set(at)) <= 2 * 64


async def test_a_message_that_is_sent_too_early_waits() -> None:
    deciding = asyncio.Event()
    app = Adopting()

    async def slow(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await deciding.wait()
        await app(scope, receive, send)

    async with serving(slow) as served, raw_client(served.port) as client:
        await until(lambda: bool(served.state.tasks))
        await send(client, frame(TEXT, b"one") + frame(TEXT, b"two"))
        await asyncio.sleep(0.01)
        deciding.set()
        assert [await app.received.get(), await app.received.get()] == ["one", "two"]


@pytest.mark.parametrize("more", [b"", frame(TEXT, b"three")[:-2]])
async def test_a_message_that_comes_with_the_upgrade_is_not_lost(more: bytes) -> None:
    app = Adopting()
    early = UPGRADE + b"\r\n" + frame(TEXT, b"one") + frame(TEXT, b"two") + more
    async with serving(app) as served, raw_client(served.port, early) as client:
        assert [await app.received.get(), await app.received.get()] == ["one", "two"]
        if more:
            await send(client, frame(TEXT, b"three")[-2:])
            assert await app.received.get() == "three"


# --- handshakes -----------------------------------------------------------------------------------------------------


def changed(old: bytes, new: bytes) -> bytes:
    assert old in UPGRADE
    return UPGRADE.replace(old, new) + b"\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        (changed(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8"), 426, "version 13"),
        (changed(b"Sec-WebSocket-Version: 13\r\n", b""), 400, "Sec-WebSocket-Version"),
        (changed(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl"), 400, "Sec-WebSocket-Key"),
        (changed(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400, "Sec-WebSocket-Key"),
        (changed(b"Host: localhost\r\n", b""), 400, "Host"),
        (changed(b"GET", b"POST"), 400, "GET"),
        (changed(b"HTTP/1.1", b"HTTP/1.0"), 400, "HTTP/1.1"),
    ],
)
async def test_a_bad_upgrade_is_answered_by_a_sentence(request_: bytes, status: int, word: str) -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port, request_) as client:
        head, _, body = (await read_to_end(client)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-length: %d" % len(body) in head.lower()
        assert word in body.decode()
        assert (b"sec-websocket-version: 13" in head) == (status == 426)
        await until(lambda: not served.state.connections)
    assert app.opened.empty()


async def test_many_headers_are_fine() -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(300))
    async with serving(Adopting()) as served, raw_client(served.port, UPGRADE + many + b"\r\n") as client:
        assert (await asyncio.get_running_loop().sock_recv(client, 12)) == b"HTTP/1.1 101"


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_thousand_slow_handshakes_are_closed_in_time_while_others_connect() -> None:
    """Figures of a service that faces the internet: all closed 10 s after they came, the others let in at once."""
    loop = asyncio.get_running_loop()
    ended: list[float] = []

    async def dawdle(port: int) -> None:
        async with raw_client(port, b"") as client:
            started = loop.time()
            for byte in UPGRADE:
                try:
                    await loop.sock_sendall(client, bytes((byte,)))
                    await asyncio.wait_for(loop.sock_recv(client, 1), 1.0)
                except TimeoutError:
                    continue
                except OSError:
                    pass
                break
            ended.append(loop.time() - started)

    taken = []
    async with serving(Adopting()) as served:
        slow = [asyncio.create_task(dawdle(served.port)) for _ in range(1000)]
        while not all(task.done() for task in slow):
            before = time.monotonic()
            async with connect(served.url):
                taken.append(time.monotonic() - before)
            await asyncio.sleep(0.02)
        await asyncio.gather(*slow)
        await until(lambda: not served.state.connections)
    assert len(ended) == 1000
    assert min(ended) > 9
    assert max(ended) < 12
    assert sorted(taken)[int(len(taken) * 0.99)] < 0.5
