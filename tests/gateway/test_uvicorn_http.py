import asyncio
import socket

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from tests.gateway.serving import UPGRADE, Endpoint, raw_client, read_to_end, serving, until

SOON = 0.05  # seconds, where the deadline is to be missed
ENOUGH = 0.3  # where it is to be met, on a busy machine too
KEPT_ALIVE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how long the request's body was."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def read_some(client: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(client, 65_536)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: local", UPGRADE],
    ids=["nothing", "a word", "half a header", "an upgrade without its end"],
)
async def test_who_does_not_finish_the_headers_is_dropped(sent: bytes) -> None:
    async with serving(answer, handshake_timeout=SOON) as served, raw_client(served.port, sent) as client:
        assert await read_to_end(client) == b""
        await until(lambda: not served.state.connections)


async def test_one_byte_now_and_then_buys_no_time() -> None:
    async with serving(answer, handshake_timeout=SOON) as served, raw_client(served.port, b"GET / HTTP/1.1\r\n") as one:
        ended = asyncio.create_task(read_to_end(one))
        while not ended.done():
            with_reset = asyncio.get_running_loop().sock_sendall(one, b"a")
            try:
                await with_reset
            except OSError:
                break
            await asyncio.sleep(SOON / 10)
        assert await ended == b""


async def test_a_later_request_on_the_same_connection_has_a_deadline_too() -> None:
    async with serving(answer, handshake_timeout=ENOUGH) as served, raw_client(served.port, KEPT_ALIVE) as client:
        assert (await read_some(client)).startswith(b"HTTP/1.1 200 ")
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: local")

        assert await read_to_end(client) == b""


async def test_what_is_done_in_time_outlives_the_deadline() -> None:
    app = Endpoint()
    async with serving(app, handshake_timeout=ENOUGH) as served, connect(served.url) as client:
        writer = await app.opened.get()
        async with raw_client(served.port, b"") as silent:
            assert await read_to_end(silent) == b""  # connected later, and its time is over

        writer.send([b"still here"])
        assert await client.recv() == "still here"


async def test_a_slow_answer_is_not_a_slow_request() -> None:
    over = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await over.wait()
        await answer(scope, receive, send)

    async with serving(slow, handshake_timeout=ENOUGH) as served, raw_client(served.port, KEPT_ALIVE) as client:
        await until(lambda: bool(served.state.tasks))
        async with raw_client(served.port, b"") as silent:
            assert await read_to_end(silent) == b""
        over.set()
        assert (await read_some(client)).startswith(b"HTTP/1.1 200 ")


async def test_headers_without_end_are_refused() -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    async with serving(answer) as served, raw_client(served.port, head) as client:
        reading = asyncio.create_task(read_to_end(client))
        await asyncio.get_running_loop().sock_sendall(client, b"y" * 66_000)

        found = await reading
        assert found.startswith(b"HTTP/1.1 431 ") or found == b""  # a reset may overtake the answer
        await until(lambda: not served.state.connections)


async def test_the_refusal_says_its_own_length() -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    async with serving(answer) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + b"y" * (65_537 - len(head)))
        found, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    assert found.startswith(b"HTTP/1.1 431 ")
    assert f"content-length: {len(body)}".encode() in found


async def test_a_long_body_is_no_long_header() -> None:
    async with serving(answer) as served, httpx2.AsyncClient() as client:
        response = await client.post(f"http://127.0.0.1:{served.port}/", content=b"z" * 300_000)
        again = await client.post(f"http://127.0.0.1:{served.port}/", content=b"z" * 300_000)

    assert (response.text, again.text) == ("300000", "300000")
