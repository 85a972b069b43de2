import asyncio
import gc
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from gateway import server
from gateway.front import Front
from gateway.uvicorn_http import HttpProtocol
from gateway.ws.asgi import DIRECT, Conversation
from gateway.ws.parser import Parser
from gateway.ws.protocol import WebSocketProtocol
from tests.gateway.serving import UPGRADE, Adopting, Endpoint, raw_client, read_to_end, serving, until

LIMIT = 65_536
MEGABYTE = b"x" * (1 << 20)


def masked(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def no_traceback(caplog: pytest.LogCaptureFixture) -> bool:
    return not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def read_head(client: socket.socket) -> bytes:
    """The answer to the upgrade, byte by byte, so that nothing behind it is lost."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await asyncio.get_running_loop().sock_recv(client, 1)
    return head


async def fill(writer: WebSocketProtocol) -> None:
    """Write until the kernel takes no more."""
    while not writer.buffered():
        writer.send([MEGABYTE])
        await asyncio.sleep(0)
    writer.send([MEGABYTE])


# --- writing --------------------------------------------------------------------------------------------------------


async def test_several_frames_in_one_write_arrive_in_order() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        writer = await app.opened.get()

        writer.send([b"one", "zwölf".encode(), b"x" * 70_000])

        assert [await client.recv() for _ in range(3)] == ["one", "zwölf", "x" * 70_000]


async def test_direct_writes_and_asgi_sends_keep_their_order() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        writer = scope["extensions"][DIRECT]
        for number in range(0, 10, 2):
            await send({"type": "websocket.send", "text": str(number)})
            writer.send([str(number + 1).encode()])
        await receive()

    async with serving(app) as served, connect(served.url) as client:
        assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]


async def test_nothing_is_written_before_the_connection_is_accepted() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        writer = scope["extensions"][DIRECT]
        writer.send([b"too early"])
        writer.close(1000, "too early")
        await receive()
        await send({"type": "websocket.accept"})
        writer.send([b"now"])
        await receive()

    async with serving(app) as served, connect(served.url) as client:
        assert await client.recv() == "now"


async def test_after_a_close_nothing_is_written(caplog: pytest.LogCaptureFixture) -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        writer = await app.opened.get()
        writer.close(1013, "later")

        writer.send([b"too late"])
        writer.close(1000, "a second close is nothing")

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "later")
    assert no_traceback(caplog)


async def test_after_the_client_has_gone_nothing_is_written() -> None:
    app = Endpoint()
    async with serving(app) as served:
        async with connect(served.url):
            writer = await app.opened.get()
        assert (await app.disconnects.get())["code"] == 1000

        writer.send([b"too late"])
        writer.close(1000, "")
        writer.abort()


async def test_the_endpoint_learns_of_a_close_from_outside() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        writer = await app.opened.get()
        writer.close(4408, "too slow")

        assert await app.disconnects.get() == {"type": "websocket.disconnect", "code": 4408, "reason": "too slow"}
        await client.wait_closed()
        await until(lambda: not served.state.connections)


async def test_a_close_hears_the_answer_even_while_the_endpoint_is_not_listening() -> None:
    over = asyncio.Event()
    opened: asyncio.Queue[WebSocketProtocol] = asyncio.Queue()

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        opened.put_nowait(scope["extensions"][DIRECT])
        await over.wait()

    async with serving(busy) as served, connect(served.url) as client:
        writer = await opened.get()
        await client.send("nobody takes this, so nothing more is read")
        await until(lambda: writer._paused)

        writer.close(1000, "enough")

        await until(lambda: not served.state.connections)  # at once, not when close_timeout is over
        over.set()


async def test_a_close_by_asgi_is_the_same_close() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4400, "reason": "not JSON"})
        scope["extensions"][DIRECT].send([b"too late"])

    async with serving(app) as served, connect(served.url) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4400, "not JSON")


async def test_abort_drops_the_connection_without_a_word() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        (await app.opened.get()).abort()

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is None
        await app.disconnects.get()


async def test_a_client_that_reads_again_is_announced_once() -> None:
    app = Adopting()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        await fill(writer)
        assert app.drained.empty()
        assert writer.buffered() >= 1 << 20

        reading = asyncio.create_task(read_to_end(client))
        assert await app.drained.get() < 1 << 20
        await until(lambda: writer.buffered() == 0)
        assert app.drained.empty()

        writer.abort()
        await reading


async def test_the_mark_above_which_a_client_counts_as_slow_is_its_adopters() -> None:
    app = Adopting(room=12_345)
    async with serving(app) as served, raw_client(served.port):
        writer = await app.opened.get()
        assert writer.transport.get_write_buffer_limits()[1] == 12_345


async def test_the_connection_lets_go_of_its_listener_when_it_is_lost() -> None:
    app = Adopting()
    async with serving(app) as served:
        async with connect(served.url):
            writer = await app.opened.get()
        assert await app.gone.get() is writer
        assert writer._listener is None


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A close has little time."""
    monkeypatch.setattr(server, "CLOSE_TIMEOUT", 0.02)


# --- peers that do not read -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
async def test_a_close_that_nobody_reads_ends_all_the_same() -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port):
        writer = await app.opened.get()
        await fill(writer)

        writer.close(4408, "too slow")

        await until(lambda: not served.state.connections)


@pytest.mark.parametrize(
    "last_words",
    [masked(Opcode.CLOSE, struct.pack("!H", 1000)), masked(Opcode.TEXT, b"\xff"), b"\xff\xff\xff\xff\xff\xff"],
    ids=["close", "bad UTF-8", "no frame"],
)
@pytest.mark.usefixtures("hasty")
async def test_who_ends_the_connection_but_never_reads_is_dropped(last_words: bytes) -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        await fill(writer)

        await asyncio.get_running_loop().sock_sendall(client, last_words)

        await until(lambda: not served.state.connections)


@pytest.mark.usefixtures("hasty")
async def test_who_stops_sending_and_never_reads_is_dropped() -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        await fill(writer)

        client.shutdown(socket.SHUT_WR)

        await until(lambda: not served.state.connections)


async def test_who_answers_no_ping_is_closed_with_1011() -> None:
    app = Endpoint()
    async with serving(app, ping_interval=0.03) as served, raw_client(served.port) as client:
        received = await read_to_end(client)

    assert bytes((0x80 | Opcode.PING, 0)) in received
    assert bytes((0x80 | Opcode.CLOSE,)) in received
    assert struct.pack("!H", 1011) in received


@pytest.mark.usefixtures("hasty")
async def test_who_answers_no_ping_and_does_not_read_is_dropped() -> None:
    app = Endpoint()
    async with serving(app, ping_interval=0.03) as served, raw_client(served.port):
        writer = await app.opened.get()
        await fill(writer)

        await until(lambda: not served.state.connections)


@pytest.mark.parametrize("kind", [Endpoint, Adopting])
async def test_who_answers_pings_stays(kind: type[Endpoint] | type[Adopting]) -> None:
    app = kind()
    async with serving(app, ping_interval=0.1) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        await read_head(client)
        for _ in range(4):  # one more than who is silent would be sent
            assert await asyncio.get_running_loop().sock_recv(client, 2) == b"\x89\x00"
            await asyncio.get_running_loop().sock_sendall(client, masked(Opcode.PONG, b""))

        writer.send([b"still here"])
        assert await asyncio.get_running_loop().sock_recv(client, 100) == b"\x81\x0astill here"


# --- what comes in --------------------------------------------------------------------------------------------------


async def test_text_and_binary_reach_the_endpoint_as_such() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        await client.send("text")
        await client.send(b"binary")
        await client.send("")

        assert [await app.received.get() for _ in range(3)] == ["text", b"binary", ""]


async def test_bad_utf8_is_a_close_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        await client.send(b"\xc3\x28", text=True)

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
        assert (await app.disconnects.get())["code"] == 1007
    assert no_traceback(caplog)


@pytest.mark.usefixtures("hasty")
async def test_bad_utf8_followed_by_a_close_in_one_packet_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        await app.opened.get()
        both = masked(Opcode.TEXT, b"\xff") + masked(Opcode.CLOSE, struct.pack("!H", 1000))
        await asyncio.get_running_loop().sock_sendall(client, both)

        await read_to_end(client)
        await until(lambda: not served.state.connections)
    assert app.received.empty()
    assert no_traceback(caplog)


async def test_utf8_may_be_split_between_fragments() -> None:
    app = Endpoint()
    halves = "ü".encode()
    async with serving(app) as served, raw_client(served.port) as client:
        await app.opened.get()
        frames = masked(Opcode.TEXT, halves[:1], fin=False) + masked(Opcode.CONT, halves[1:])
        await asyncio.get_running_loop().sock_sendall(client, frames)

        assert await app.received.get() == "ü"


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_message_of_exactly_the_limit_passes(pieces: int) -> None:
    app = Endpoint()
    text = "y" * LIMIT
    async with serving(app) as served, connect(served.url) as client:
        await client.send(fragments(text, pieces) if pieces > 1 else text)

        assert await app.received.get() == text


@pytest.mark.parametrize("pieces", [1, 3])
async def test_one_byte_more_is_too_large(pieces: int, caplog: pytest.LogCaptureFixture) -> None:
    app = Endpoint()
    text = "y" * (LIMIT + 1)
    async with serving(app) as served, connect(served.url) as client:
        with suppress(ConnectionClosed):  # the answer may come before the last fragment is sent
            await client.send(fragments(text, pieces) if pieces > 1 else text)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert (await app.disconnects.get())["code"] == 1009
    assert app.received.empty()
    assert no_traceback(caplog)


def fragments(text: str, pieces: int) -> list[str]:
    size = len(text) // pieces + 1
    return [text[start : start + size] for start in range(0, len(text), size)]


async def test_empty_fragments_fill_no_memory() -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        many = masked(Opcode.TEXT, b"a", fin=False) + 1000 * masked(Opcode.CONT, b"", fin=False)
        await asyncio.get_running_loop().sock_sendall(client, many + masked(Opcode.CONT, b"b", fin=False))

        await until(lambda: writer._parser is not None and len(writer._parser._message) == 2)
        await asyncio.get_running_loop().sock_sendall(client, masked(Opcode.CONT, b""))
        assert await app.received.get() == "ab"


# --- the handshake --------------------------------------------------------------------------------------------------


async def test_no_compression_is_agreed_on() -> None:
    async with serving(Endpoint()) as served, connect(served.url, compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_an_accepted_connection_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = Endpoint()
    async with serving(app) as served:
        async with connect(served.url):
            await app.opened.get()
        await app.disconnects.get()
        assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_denial_reaches_the_client_and_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"foreign"})

    async with serving(app) as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.url)
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"foreign")
    assert no_traceback(caplog)


async def test_a_client_that_goes_while_it_is_let_in_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    gone = asyncio.Event()
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gone.wait()
        try:
            await receive()
            await send({"type": "websocket.accept"})
        finally:
            scope["extensions"][DIRECT].send([b"too late"])
            ended.set()

    async with serving(app) as served:
        async with raw_client(served.port):
            await until(lambda: bool(served.state.tasks))
        await until(lambda: not served.state.connections)
        gone.set()
        await ended.wait()
    assert no_traceback(caplog)


# --- what is left ---------------------------------------------------------------------------------------------------


def living(*kinds: type) -> list[object]:
    return [one for one in gc.get_objects() if type(one) in kinds]


Left = Callable[..., list[object]]


@pytest.fixture
def left() -> Iterator[Left]:
    """Which objects of some types there are that were not there before, and that nothing but the garbage collector
    could find: it is at rest."""
    gc.collect()
    gc.disable()
    before = living(Front, HttpProtocol, WebSocketProtocol, Conversation, Parser)  # logs of other tests may hold some
    yield lambda *kinds: [one for one in living(*kinds) if not any(one is other for other in before)]
    gc.enable()


@pytest.mark.parametrize("pieces", [(UPGRADE + b"\r\n",), (UPGRADE, b"\r\n")], ids=["straight", "by HTTP"])
async def test_nothing_of_the_http_connection_stays_behind(left: Left, pieces: tuple[bytes, ...]) -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port, b"") as client:
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(client, piece)
            await asyncio.sleep(0.01)
        await app.opened.get()
        assert left(WebSocketProtocol)
        assert not left(Front, HttpProtocol)


async def test_nothing_of_the_endpoint_stays_behind_where_it_hands_its_connection_over(left: Left) -> None:
    app = Adopting()
    async with serving(app) as served, connect(served.url):
        await app.opened.get()
        await until(lambda: not served.state.tasks)
        assert left(WebSocketProtocol)
        assert not left(HttpProtocol, Conversation, Parser)


async def test_a_closed_connection_leaves_no_garbage_of_ours(left: Left) -> None:
    app = Endpoint()
    async with serving(app) as served:
        async with connect(served.url):
            await app.opened.get()
        await app.disconnects.get()
        await until(lambda: not left(WebSocketProtocol, Conversation))


async def test_a_closed_connection_that_was_handed_over_leaves_no_garbage_of_ours(left: Left) -> None:
    app = Adopting()
    async with serving(app) as served:
        async with connect(served.url) as client:
            await client.send("Hello")
            await app.opened.get()
        await app.gone.get()
        await until(lambda: not left(WebSocketProtocol, Conversation, Parser))


async def test_big_random_messages_arrive_as_they_were_sent() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url, max_size=None) as client:
        writer = await app.opened.get()
        texts = [os.urandom(size // 2).hex() for size in (10, 200, 40_000, 300_000)]

        writer.send([text.encode() for text in texts])

        assert [await client.recv() for _ in texts] == texts
