import asyncio
import gc
import logging
import os
import socket
import struct
import weakref
from contextlib import suppress

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from gateway.frames import text_frame
from gateway.uvicorn_http import HttpProtocol
from gateway.uvicorn_ws import WRITER, ChatProtocol
from tests.gateway.serving import UPGRADE, Endpoint, raw_client, read_to_end, serving, until

LIMIT = 65_536
MEGABYTE = text_frame(b"x" * (1 << 20))


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


async def fill(writer: ChatProtocol) -> None:
    """Write until the kernel takes no more."""
    while not writer.buffered():
        assert writer.write(MEGABYTE)
        await asyncio.sleep(0)
    assert writer.write(MEGABYTE)


# --- writing --------------------------------------------------------------------------------------------------------


async def test_several_frames_in_one_write_arrive_in_order() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        writer = await app.opened.get()

        assert writer.write(text_frame(b"one") + text_frame("zw\u00f6lf".encode()) + text_frame(b"x" * 70_000))

        assert [await client.recv() for _ in range(3)] == ["one", "zwölf", "x" * 70_000]


async def test_direct_writes_and_asgi_sends_keep_their_order() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        writer = scope["extensions"][WRITER]
        for number in range(0, 10, 2):
            await send({"type": "websocket.send", "text": str(number)})
            writer.write(text_frame(str(number + 1).encode()))
        await receive()

    async with serving(app) as served, connect(served.url) as client:
        assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]


async def test_nothing_is_written_before_the_connection_is_accepted() -> None:
    early: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        writer = scope["extensions"][WRITER]
        early.append(writer.write(text_frame(b"too early")))
        writer.close(1000, "too early")
        await receive()
        await send({"type": "websocket.accept"})
        writer.write(text_frame(b"now"))
        await receive()

    async with serving(app) as served, connect(served.url) as client:
        assert await client.recv() == "now"
    assert early == [False]


async def test_after_a_close_nothing_is_written(caplog: pytest.LogCaptureFixture) -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        writer = await app.opened.get()
        writer.close(1013, "later")

        assert not writer.write(text_frame(b"too late"))
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

        assert not writer.write(text_frame(b"too late"))
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
    opened: asyncio.Queue[ChatProtocol] = asyncio.Queue()

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        opened.put_nowait(scope["extensions"][WRITER])
        await over.wait()

    async with serving(busy) as served, connect(served.url) as client:
        writer = await opened.get()
        await client.send("nobody takes this, so nothing more is read")
        await until(lambda: writer.read_paused)

        writer.close(1000, "enough")

        await until(lambda: not served.state.connections)  # at once, not when close_timeout is over
        over.set()


async def test_a_close_by_asgi_is_the_same_close() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4400, "reason": "not JSON"})
        assert not scope["extensions"][WRITER].write(text_frame(b"too late"))

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
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        drained = asyncio.Queue[int]()
        writer.on_drained = lambda: drained.put_nowait(writer.buffered())
        await fill(writer)
        assert drained.empty()
        assert writer.buffered() >= 1 << 20

        reading = asyncio.create_task(read_to_end(client))
        assert await drained.get() < 1 << 20
        await until(lambda: writer.buffered() == 0)
        assert drained.empty()

        writer.abort()
        await reading


async def test_the_mark_above_which_a_client_counts_as_slow_can_be_set() -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port):
        writer = await app.opened.get()
        writer.limit(12_345)
        assert writer.transport.get_write_buffer_limits()[1] == 12_345
        writer.abort()
        await app.disconnects.get()


async def test_the_connection_lets_go_of_its_listener_when_it_is_lost() -> None:
    app = Endpoint()
    async with serving(app) as served:
        async with connect(served.url):
            writer = await app.opened.get()
            writer.on_drained = lambda: None
        await until(lambda: writer.on_drained is None)


# --- peers that do not read -----------------------------------------------------------------------------------------


async def test_a_close_that_nobody_reads_ends_all_the_same() -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port):
        writer = await app.opened.get()
        writer.close_timeout = 0.02
        await fill(writer)

        writer.close(4408, "too slow")

        await until(lambda: not served.state.connections)


@pytest.mark.parametrize(
    "last_words",
    [masked(Opcode.CLOSE, struct.pack("!H", 1000)), masked(Opcode.TEXT, b"\xff"), b"\xff\xff\xff\xff\xff\xff"],
    ids=["close", "bad UTF-8", "no frame"],
)
async def test_who_ends_the_connection_but_never_reads_is_dropped(last_words: bytes) -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        writer.close_timeout = 0.02
        await fill(writer)

        await asyncio.get_running_loop().sock_sendall(client, last_words)

        await until(lambda: not served.state.connections)


async def test_who_stops_sending_and_never_reads_is_dropped() -> None:
    app = Endpoint()
    async with serving(app) as served, raw_client(served.port) as client:
        writer = await app.opened.get()
        writer.close_timeout = 0.02
        await fill(writer)

        client.shutdown(socket.SHUT_WR)

        await until(lambda: not served.state.connections)


async def test_who_answers_no_ping_is_closed_with_1011() -> None:
    app = Endpoint()
    async with serving(app, ping_interval=0.03) as served, raw_client(served.port) as client:
        received = await read_to_end(client)

    assert bytes((0x80 | Opcode.PING, 4)) in received
    assert bytes((0x80 | Opcode.CLOSE,)) in received
    assert struct.pack("!H", 1011) in received


async def test_who_answers_no_ping_and_does_not_read_is_dropped() -> None:
    app = Endpoint()
    async with serving(app, ping_interval=0.03) as served, raw_client(served.port):
        writer = await app.opened.get()
        writer.close_timeout = 0.02
        await fill(writer)

        await until(lambda: not served.state.connections)


async def test_who_answers_pings_stays() -> None:
    app = Endpoint()
    async with serving(app, ping_interval=0.2) as served, connect(served.url, ping_interval=None) as client:
        writer = await app.opened.get()
        pings: list[bytes] = []
        handle_pong = writer.handle_pong

        def counted(event: Frame) -> None:
            pings.append(bytes(event.data))
            handle_pong(event)

        writer.handle_pong = counted  # type: ignore[method-assign]
        await until(lambda: len(pings) >= 2)

        writer.write(text_frame(b"still here"))
        assert await client.recv() == "still here"
        del writer.handle_pong


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

        await until(lambda: b"b" in writer.frames)
        assert writer.frames == [b"a", b"b"]

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
            assert not scope["extensions"][WRITER].write(text_frame(b"too late"))
            ended.set()

    async with serving(app) as served:
        async with raw_client(served.port):
            await until(lambda: bool(served.state.tasks))
        await until(lambda: not served.state.connections)
        gone.set()
        await ended.wait()
    assert no_traceback(caplog)


async def test_an_upgrade_that_websockets_cannot_parse_is_answered_and_closed() -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(200))
    async with serving(Endpoint()) as served, raw_client(served.port, UPGRADE + many + b"\r\n") as client:
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 431 ")
        await until(lambda: not served.state.connections)


# --- what is left ---------------------------------------------------------------------------------------------------


async def test_nothing_of_the_http_connection_stays_behind() -> None:
    app = Endpoint()
    gc.collect()
    gc.disable()
    try:
        async with serving(app) as served, connect(served.url):
            await app.opened.get()
            assert not [one for one in gc.get_objects() if isinstance(one, HttpProtocol)]
    finally:
        gc.enable()


async def test_a_closed_connection_leaves_no_garbage_of_ours() -> None:
    app = Endpoint()
    gc.collect()
    gc.disable()
    try:
        async with serving(app) as served:
            async with connect(served.url):
                found = weakref.ref(await app.opened.get())
            await app.disconnects.get()
            await until(lambda: found() is None)
    finally:
        gc.enable()


async def test_big_random_messages_arrive_as_they_were_sent() -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url, max_size=None) as client:
        writer = await app.opened.get()
        texts = [os.urandom(size // 2).hex() for size in (10, 200, 40_000, 300_000)]

        assert writer.write(b"".join(text_frame(text.encode()) for text in texts))

        assert [await client.recv() for _ in texts] == texts
