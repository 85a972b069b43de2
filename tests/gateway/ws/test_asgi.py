"""The class as a server of ASGI, to endpoints that know nothing of us; what uvicorn's own does is done alike."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.ws.asgi import DIRECT
from tests.gateway.serving import Endpoint, raw_client, serving, until


def route(endpoint: Callable[[WebSocket], Awaitable[None]]) -> ASGIApp:
    return Starlette(routes=[WebSocketRoute("/ws", endpoint)])


async def closed(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as error:
        await client.recv()
    assert error.value.rcvd is not None
    return error.value.rcvd.code, error.value.rcvd.reason


async def refused(url: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as error:
        await connect(url)
    return error.value


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().strip() for record in caplog.records if record.levelno >= logging.ERROR]


# --- exchanges ------------------------------------------------------------------------------------------------------


async def test_starlettes_websocket_in_all_its_ways() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept("two", [(b"X-Greeting", b"hello")])
        await websocket.send_json({"got": await websocket.receive_json()})
        await websocket.send_text(await websocket.receive_text())
        await websocket.send_bytes(await websocket.receive_bytes())
        await websocket.close(4001, "enough")

    async with serving(route(endpoint)) as served, connect(served.url, subprotocols=["one", "two"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "two"
        assert client.response is not None
        assert client.response.headers["x-greeting"] == "hello"
        await client.send('{"a": 1}')
        assert await client.recv() == '{"got":{"a":1}}'
        for data in ("grüße" * 20_00, b"\x00\xff" * 20_000):
            await client.send(data)
            assert await client.recv() == data
        assert await closed(client) == (4001, "enough")


async def test_the_clients_close_reaches_the_endpoint() -> None:
    ends: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as end:
            ends.put_nowait((end.code, end.reason))

    async with serving(route(endpoint)) as served:
        for code, reason in ((1000, ""), (4321, "bye")):
            async with connect(served.url) as client:
                await client.close(code, reason)
            assert await ends.get() == (code, reason)
        async with raw_client(served.port):
            await until(lambda: bool(served.state.tasks))
        assert await ends.get() == (1006, "")


async def test_the_scope_is_uvicorns() -> None:
    scopes: list[dict[str, Any]] = []

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(dict(scope))
        await receive()
        await send({"type": "websocket.close"})

    for kind in ("own", "stock"):
        async with serving(endpoint, ws=kind) as served:
            url = f"ws://127.0.0.1:{served.port}/a%20b/%C3%BC?c=d%20e"
            with pytest.raises(InvalidStatus):
                await connect(url, subprotocols=["x", "y"], additional_headers={"X-Latin": "caf\u00e9"})  # type: ignore[list-item]
    own, stock = scopes
    assert own["extensions"].pop(DIRECT)
    for one in scopes:
        assert one["server"][1] != one["client"][1]
        del one["server"], one["client"]
        one["headers"] = [
            (name, value) for name, value in one["headers"] if name.lower() not in (b"host", b"sec-websocket-key")
        ]
    stock["headers"] = [(name.lower(), value) for name, value in stock["headers"]]
    assert own == stock


# --- the endpoint decides -------------------------------------------------------------------------------------------


async def test_a_close_before_the_accept_is_403() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.close()

    async with serving(route(endpoint)) as served:
        assert (await refused(served.url)).response.status_code == 403
        await until(lambda: not served.state.connections)


async def test_a_denial_is_the_response_that_it_says() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("Later.", 503, {"retry-after": "7"}))

    async with serving(route(endpoint)) as served:
        response = (await refused(served.url)).response
    assert (response.status_code, response.headers["retry-after"], response.body) == (503, "7", b"Later.")


async def test_a_denial_may_come_in_pieces() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.send_denial_response(StreamingResponse((f"{n} " for n in range(1000)), 418))

    async with serving(route(endpoint)) as served:
        response = (await refused(served.url)).response
    assert (response.status_code, response.body) == (418, "".join(f"{n} " for n in range(1000)).encode())


@pytest.mark.parametrize("accepts", [False, True])
async def test_an_endpoint_that_fails(accepts: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if accepts:
            await receive()
            await send({"type": "websocket.accept"})
        raise ValueError("out of order")

    async with serving(endpoint) as served:
        if accepts:
            async with connect(served.url) as client:
                assert await closed(client) == (1011, "internal error")
        else:
            assert (await refused(served.url)).response.status_code == 500
        await until(lambda: not served.state.connections)
    assert errors(caplog) == ["Exception in ASGI application"]


async def test_an_endpoint_that_fails_in_a_denial_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        raise ValueError("out of order")

    async with serving(endpoint) as served, raw_client(served.port):
        await until(lambda: bool(errors(caplog)))
        await until(lambda: not served.state.connections)


async def test_an_endpoint_that_does_not_decide(caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async with serving(endpoint) as served:
        assert (await refused(served.url)).response.status_code == 500
    assert errors(caplog) == ["ASGI callable returned without completing handshake."]


async def test_an_endpoint_that_just_returns_has_nothing_more_to_say() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("that is all")

    async with serving(route(endpoint)) as served, connect(served.url) as client:
        assert await client.recv() == "that is all"
        assert await closed(client) == (1000, "")


async def test_an_endpoint_that_is_cancelled_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    app = Endpoint()
    async with serving(app) as served, connect(served.url) as client:
        await app.opened.get()
        (task,) = served.state.tasks
        task.cancel()
        assert (await closed(client))[0] == 1011
    assert errors(caplog) == []


# --- messages at the wrong time -------------------------------------------------------------------------------------

ACCEPT = {"type": "websocket.accept"}
TEXT = {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}
START = {"type": "websocket.http.response.start", "status": 403, "headers": []}
BODY = {"type": "websocket.http.response.body", "body": b""}


@pytest.mark.parametrize(
    "messages",
    [
        [TEXT],
        [BODY],
        [ACCEPT, ACCEPT],
        [ACCEPT, START],
        [ACCEPT, {"type": "websocket.send"}],
        [ACCEPT, {"type": "nonsense"}],
        [ACCEPT, CLOSE, TEXT],
        [CLOSE, ACCEPT],
        [START, ACCEPT],
        [START, BODY, BODY],
        [ACCEPT | {"headers": [(b"a", b"b\r\nc: d")]}],
    ],
    ids=lambda messages: "-".join(message["type"].split(".")[-1] for message in messages),
)
async def test_what_cannot_be_sent_now_is_an_error_of_the_endpoint(messages: list[dict[str, Any]]) -> None:
    found: asyncio.Queue[BaseException] = asyncio.Queue()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages[:-1]:
            await send(dict(message))
        try:
            await send(dict(messages[-1]))
        except BaseException as error:
            found.put_nowait(error)

    async with serving(endpoint) as served, raw_client(served.port):
        assert type(await found.get()) is RuntimeError


@pytest.mark.parametrize("accepted", [True, False])
async def test_sending_to_a_client_that_has_gone_says_so(accepted: bool) -> None:
    gone = asyncio.Event()
    found: asyncio.Queue[BaseException] = asyncio.Queue()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if accepted:
            await send(dict(ACCEPT))
        await gone.wait()
        try:
            await send(dict(TEXT if accepted else ACCEPT))
        except OSError as error:
            found.put_nowait(error)
            raise

    async with serving(endpoint) as served:
        async with raw_client(served.port):
            await until(lambda: bool(served.state.tasks))
        await until(lambda: not served.state.connections)
        gone.set()
        assert type(await found.get()) is ClientDisconnected


async def test_behind_the_disconnect_there_is_nothing_but_the_disconnect() -> None:
    found: asyncio.Queue[Any] = asyncio.Queue()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(dict(ACCEPT))
        for _ in range(3):
            found.put_nowait(await receive())

    async with serving(endpoint) as served:
        async with connect(served.url) as client:
            await client.send("last words")
        assert (await found.get())["text"] == "last words"
        assert await found.get() == await found.get() == {"type": "websocket.disconnect", "code": 1000, "reason": ""}


# --- flow -----------------------------------------------------------------------------------------------------------


async def test_an_endpoint_that_does_not_listen_is_not_read_for() -> None:
    app = Endpoint()
    released = asyncio.Event()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        async def held() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                await released.wait()
            return message

        await app(scope, held, send)

    async with serving(endpoint) as served, connect(served.url) as client:
        connection = await app.opened.get()
        sending = asyncio.create_task(send_many(client, 300))
        await until(lambda: connection._paused)
        assert connection._conversation is not None
        await asyncio.sleep(0.05)
        assert len(connection._conversation._messages) == 1
        assert not sending.done()
        released.set()
        for number in range(300):
            assert str(await app.received.get()).startswith(f"{number} ")
        await sending


async def send_many(client: ClientConnection, count: int) -> None:
    for number in range(count):
        await client.send(f"{number} " + "x" * 60_000)


async def test_an_endpoint_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def endpoint(websocket: WebSocket) -> None:
        nonlocal sent
        await websocket.accept()
        while True:
            await websocket.send_text("x" * 60_000)
            sent += 1

    async with serving(route(endpoint)) as served, raw_client(served.port):
        await until(lambda: sent > 0)
        (connection,) = served.state.connections
        await until(lambda: connection.full)  # type: ignore[union-attr]
        count = sent
        await asyncio.sleep(0.03)
        assert sent == count
        assert connection.buffered() < 200_000  # type: ignore[union-attr]
