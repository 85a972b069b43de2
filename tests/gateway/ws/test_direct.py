"""The direct way: an endpoint that hands its connection over to callbacks."""

import asyncio
import logging
from contextlib import suppress

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.server import ABORT_AFTER
from gateway.ws.asgi import DIRECT
from gateway.ws.protocol import STAGGER, WebSocketProtocol
from gateway.ws.state import State
from tests.gateway.serving import Adopting, Listening, raw_client, read_to_end, running, serving, until
from tests.gateway.ws.framing import CLOSE, TEXT, frame


async def closed(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as error:
        await client.recv()
    assert error.value.rcvd is not None
    return error.value.rcvd.code, error.value.rcvd.reason


async def test_text_comes_by_callback_and_goes_without_a_task() -> None:
    app = Adopting()
    async with serving(app) as served, connect(served.url) as client:
        connection = await app.opened.get()
        await until(lambda: not served.state.tasks)
        for text in ("Hello", "", "ü" * 30_000):
            await client.send(text)
            assert await app.received.get() == text
        connection.send([b"one", b"two"])
        connection.send(["grüße".encode()])
        assert [await client.recv() for _ in range(3)] == ["one", "two", "grüße"]
    assert await app.gone.get() is connection
    assert app.gone.empty()


@pytest.mark.parametrize("data", [b"", b"binary", b"x" * 70_000])
async def test_binary_is_refused(data: bytes) -> None:
    app = Adopting()
    async with serving(app, max_message_bytes=100_000) as served, connect(served.url) as client:
        await client.send(data)
        assert await closed(client) == (1003, "text frames only")
        await app.gone.get()


async def test_a_callback_that_fails_ends_its_connection_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(text: str) -> None:
        raise ValueError("out of order")

    app = Adopting()
    async with serving(app) as served, connect(served.url) as client, connect(served.url) as other:
        connection = await app.opened.get()
        monkeypatch.setattr(connection._listener, "on_text", fail)
        await client.send("x")
        assert await closed(client) == (1011, "internal error")
        assert await app.gone.get() is connection
        await other.send("still here")
        assert await app.received.get() == "still here"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "a message could not be handled"
    ]


async def test_what_follows_a_close_is_not_heard() -> None:
    app = Adopting()
    async with serving(app) as served, connect(served.url) as client:
        connection = await app.opened.get()
        connection.close(4400, "enough")
        connection.send([b"too late"])
        assert app.gone.empty()  # not in the midst of whatever closed it
        assert await app.gone.get() is connection
        with suppress(ConnectionClosed):
            await client.send("too late")
        assert await closed(client) == (4400, "enough")
        await until(lambda: not served.state.connections)
    assert app.received.empty()
    assert app.gone.empty()


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_who_has_gone_meanwhile_is_gone_at_once(how: str) -> None:
    listeners: list[Listening] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        connection: WebSocketProtocol = scope["extensions"][DIRECT]
        if how == "abort":
            connection.abort()
            await until(lambda: connection.state is State.ENDED)
        else:
            connection.close(1000, "")
        listeners.append(listening := Listening(connection))
        connection.adopt(listening, 1000)
        assert listening.gone.empty()

    async with serving(app) as served, raw_client(served.port):
        await until(lambda: bool(listeners))
        await listeners[0].gone.get()
    assert listeners[0].gone.empty()
    assert listeners[0].received.empty()


async def test_what_came_before_it_was_handed_over_is_not_lost() -> None:
    listeners: list[Listening] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        connection: WebSocketProtocol = scope["extensions"][DIRECT]
        await until(lambda: connection._paused)
        listeners.append(listening := Listening(connection))
        connection.adopt(listening, 1000)

    async with serving(app) as served, connect(served.url) as client:
        for text in ("one", "two", "three"):
            await client.send(text)
        await until(lambda: bool(listeners))
        assert [await listeners[0].received.get() for _ in range(3)] == ["one", "two", "three"]


async def test_who_does_not_read_is_not_read_from_until_it_does() -> None:
    app = Adopting(room=1000)
    async with serving(app) as served, raw_client(served.port) as client:
        connection = await app.opened.get()
        while not connection.full:
            connection.send([b"x" * 100_000])
        await asyncio.get_running_loop().sock_sendall(client, frame(TEXT, b"a question"))
        await asyncio.sleep(0.02)
        assert app.received.empty()
        assert app.drained.empty()

        reading = asyncio.create_task(read_to_end(client))
        assert await app.received.get() == "a question"
        assert not app.drained.empty()
        connection.abort()
        await reading


async def test_the_close_of_one_that_does_not_read_is_answered_when_it_does() -> None:
    app = Adopting(room=1000)
    async with serving(app) as served, raw_client(served.port) as client:
        connection = await app.opened.get()
        while not connection.full:
            connection.send([b"x" * 100_000])
        await asyncio.get_running_loop().sock_sendall(client, frame(CLOSE, b"\x03\xe8"))
        assert (await read_to_end(client)).endswith(b"\x88\x02\x03\xe8")
        await app.gone.get()


async def test_a_stop_says_goodbye_to_all_in_time_but_not_in_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []

    def uniform(low: float, high: float) -> float:
        delays.append(high)
        return low + len(delays) * 0.005

    monkeypatch.setattr("gateway.ws.protocol.random.uniform", uniform)
    app = Adopting()
    async with running(app) as gateway:
        await until(lambda: gateway.server.started)
        clients = [await connect(gateway.url) for _ in range(20)]
        await until(lambda: app.opened.qsize() == 20)
        gateway.server.stop()
        assert {await closed(client) for client in clients} == {(1012, "")}
        await gateway.ended
    assert delays == [STAGGER] * 20
    assert STAGGER < ABORT_AFTER
    assert app.gone.qsize() == 20
