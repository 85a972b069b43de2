"""Which way a connection goes is nobody's business: whatever is sent, the answer is the same."""

import asyncio
import json
import socket
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway import front
from gateway.deadlines import Deadlines
from gateway.front import Front
from gateway.server import configure
from gateway.uvicorn_http import HttpProtocol
from gateway.ws.common import Common
from shared.settings import GatewaySettings
from tests.gateway.serving import UPGRADE, raw_client, read_to_end, serving, until
from tests.gateway.ws.framing import CLOSE, TEXT, frame

GOODBYE = frame(CLOSE, b"\x03\xe8")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells a WebSocket its scope and then whatever it says; gives HTTP its path."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    told = {name: value for name, value in scope.items() if name not in ("extensions", "state", "client", "server")}
    await send({"type": "websocket.send", "text": json.dumps(told, default=repr)})
    await send({"type": "websocket.send", "text": f"{type(scope['server'][1])} {type(scope['client'][1])}"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


class Away(HttpProtocol):
    """Tells that it was needed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        ways.append("long")
        super().connection_made(transport)


ways: list[str] = []


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on it is known which way a connection goes."""
    ways.clear()
    monkeypatch.setattr(front, "HttpProtocol", Away)


async def answer(*pieces: bytes) -> bytes:
    """To what is sent in so many writes."""
    async with serving(echo) as served, raw_client(served.port, pieces[0]) as client:
        loop = asyncio.get_running_loop()
        for piece in pieces[1:]:
            await asyncio.sleep(0.01)
            await loop.sock_sendall(client, piece)
        return (await read_to_end(client)).replace(str(served.port).encode(), b"PORT")


def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one there is."""
    monkeypatch.setattr("gateway.ws.handshake.read_ordinary", lambda data: None)


async def test_an_ordinary_upgrade_goes_straight() -> None:
    assert (await answer(UPGRADE + b"\r\n", GOODBYE)).startswith(b"HTTP/1.1 101 ")
    assert not ways


REQUESTS = {
    "ordinary": (UPGRADE + b"\r\n", frame(TEXT, b"one"), GOODBYE),
    "with a path and a query": (UPGRADE.replace(b"/ws", b"/a%20b/%C3%BC?q=1&r=%20") + b"\r\n", GOODBYE),
    "with subprotocols": (UPGRADE + b"sec-websocket-protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n\r\n", GOODBYE),
    "with odd spaces": (UPGRADE + b"X-Odd: \t a  b \t\r\nX-Empty:\r\n\r\n", GOODBYE),
    "in pieces": (UPGRADE[:30], UPGRADE[30:], b"\r\n", frame(TEXT, b"one"), GOODBYE),
    "with a message behind it": (UPGRADE + b"\r\n" + frame(TEXT, b"one"), frame(TEXT, b"two"), GOODBYE),
    "with half a message behind it": (UPGRADE + b"\r\n" + frame(TEXT, b"one")[:3], frame(TEXT, b"one")[3:], GOODBYE),
    "without a key": (UPGRADE.replace(b"Sec-WebSocket-Key", b"X") + b"\r\n",),
    "of another version": (UPGRADE.replace(b"13", b"12") + b"\r\n",),
    "of an older HTTP": (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n",),
    "with a body": (UPGRADE + b"Content-Length: 3\r\n\r\n", b"abc" + GOODBYE),
    "with a body in chunks": (UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n", GOODBYE),
    "with a folded header": (UPGRADE + b"X-Long: a\r\n b\r\n\r\n", GOODBYE),
    "with a header in Latin-1": (UPGRADE + b"X-Name: J\xfcrgen\r\n\r\n", GOODBYE),
    "with a NUL": (UPGRADE + b"X-Name: a\0b\r\n\r\n",),
    "with a space before the colon": (UPGRADE + b"X-Name : a\r\n\r\n",),
    "with bare line feeds": (UPGRADE.replace(b"\r\n", b"\n") + b"\n",),
    "with two hosts": (UPGRADE + b"Host: elsewhere\r\n\r\n",),
    "without a host": (UPGRADE.replace(b"Host", b"X") + b"\r\n",),
    "by POST": (UPGRADE.replace(b"GET", b"POST") + b"\r\n",),
    "to another protocol": (UPGRADE.replace(b": websocket", b": h2c") + b"\r\n",),
    "no upgrade at all": (b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n",),
    "no HTTP at all": (b"websocket\r\n\r\n",),
}


@pytest.mark.parametrize("pieces", REQUESTS.values(), ids=REQUESTS)
async def test_both_ways_give_the_same_answer(monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]) -> None:
    found = await answer(*pieces)
    long_way(monkeypatch)
    assert found == await answer(*pieces)
    assert ways
    assert found


async def test_a_first_byte_buys_no_time() -> None:
    config = configure(echo, GatewaySettings())
    config.load()
    loop, state, nascent, common = asyncio.get_running_loop(), ServerState(), Deadlines(10.0), Common(1000, 20.0, 1.0)
    server = await loop.create_server(lambda: Front(nascent, common, config, state, {}), "127.0.0.1", 0)
    async with server, raw_client(server.sockets[0].getsockname()[1], b"") as client:
        await until(lambda: bool(state.connections))
        (one,) = state.connections
        transport: Any = one.transport
        due = nascent._deadlines[transport]
        await loop.sock_sendall(client, b"G")
        await until(lambda: ways == ["long"])
        assert (list(nascent._deadlines), nascent._deadlines[transport]) == ([transport], due)
        client.shutdown(socket.SHUT_RDWR)
        await until(lambda: not state.connections)
        assert not nascent._deadlines


async def test_who_goes_without_a_word_leaves_nothing() -> None:
    async with serving(echo) as served:
        async with raw_client(served.port, b""):
            await until(lambda: bool(served.state.connections))
        await until(lambda: not served.state.connections)


async def test_a_stop_does_not_wait_for_those_that_have_said_nothing() -> None:
    async with serving(echo) as served, raw_client(served.port, b"") as client:
        await until(lambda: bool(served.state.connections))
        for one in list(served.state.connections):
            one.shutdown()
        assert await read_to_end(client) == b""
