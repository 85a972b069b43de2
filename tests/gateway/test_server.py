import asyncio
import logging
import os
import signal
import struct
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from gateway import server as module
from gateway.server import RETRY_AFTER_MS, Server, configure
from gateway.ws.common import Common
from gateway.ws.protocol import WebSocketProtocol
from shared.settings import GatewaySettings
from tests.gateway.serving import Endpoint, FakeSessions, raw_client, read_to_end, running, until


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What a stop must not write: filled as the log is."""
    caplog.set_level(logging.WARNING)
    return caplog.records


async def fill(writer: WebSocketProtocol) -> None:
    """Write until the kernel takes no more."""
    while not writer.buffered():
        writer.send([b"x" * (1 << 20)])
        await asyncio.sleep(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_tells_the_clients_and_then_closes_them(
    number: signal.Signals, errors: list[logging.LogRecord]
) -> None:
    app = Endpoint()
    async with running(app, drain_delay=0.3) as gateway, connect(gateway.url) as client:
        writer = await app.opened.get()
        os.kill(os.getpid(), number)
        await until(lambda: gateway.sessions.stopping)
        writer.send([b"still served"])
        assert await client.recv() == "still served"

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await gateway.ended

        [hint] = gateway.sessions.hints
        assert RETRY_AFTER_MS[0] <= hint <= RETRY_AFTER_MS[1]
        assert not gateway.server.failed
        assert not errors


async def test_the_stop_waits_only_for_websockets_and_not_longer_than_it_may() -> None:
    server = Server(configure(Endpoint(), GatewaySettings()), FakeSessions(), drain_delay=3600)
    server.config.load()
    loop = asyncio.get_running_loop()
    now = loop.time()
    connection: Any = WebSocketProtocol(Common(1, 1.0, 1.0), server.config, server.server_state, {}, loop)

    assert not await server.on_tick(1)
    server.server_state.connections.add(connection)
    server.stop()
    assert not await server.on_tick(1)

    server.server_state.connections.clear()
    assert await server.on_tick(1)

    late = Server(server.config, FakeSessions(), drain_delay=3600)
    late.server_state.connections.add(connection)
    late.stop()
    late._asked_at = now - 2.1
    assert await late.on_tick(1)


def test_connections_without_a_request_are_kept_longer_than_nginx_keeps_them() -> None:
    assert configure(Endpoint(), GatewaySettings()).timeout_keep_alive > 60


async def test_a_failure_stops_the_server_and_is_remembered() -> None:
    async with running(Endpoint()) as gateway:
        await until(lambda: gateway.server.started)
        gateway.server.fail()
        await gateway.ended

        assert gateway.server.failed
        assert gateway.sessions.stopping


async def test_a_hint_that_cannot_be_given_does_not_keep_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(retry_after_ms: int) -> None:
        raise RuntimeError("no")

    async with running(Endpoint()) as gateway:
        monkeypatch.setattr(gateway.sessions, "going_away", broken)
        gateway.server.stop()
        await gateway.ended


async def test_the_clients_are_told_once() -> None:
    async with running(Endpoint()) as gateway:
        gateway.server.stop()
        gateway.server.fail()
        await gateway.ended

        assert len(gateway.sessions.hints) == 1


async def test_one_wish_that_comes_as_two_signals_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAME_STOP", 60.0)
    app = Endpoint()
    async with running(app, drain_delay=0.2) as gateway, connect(gateway.url) as client:
        await app.opened.get()
        gateway.server.on_signal()
        gateway.server.on_signal()

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


async def test_a_second_wish_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAME_STOP", -1.0)
    monkeypatch.setattr(module, "LONGEST_DRAIN", 3600.0)
    app = Endpoint()
    async with running(app, drain_delay=3600) as gateway, connect(gateway.url) as client:
        await app.opened.get()
        gateway.server.on_signal()
        gateway.server.on_signal()

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is None
        await gateway.ended


async def test_clients_that_do_not_read_and_half_sent_handshakes_hold_nothing(
    errors: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ABORT_AFTER", 0.15)
    app = Endpoint()
    async with running(app) as gateway, raw_client(gateway.port), raw_client(gateway.port, b"GET /ws HT") as half:
        await fill(await app.opened.get())
        await until(lambda: len(gateway.state.connections) == 2)

        gateway.server.stop()
        assert await read_to_end(half) == b""
        await gateway.ended

        assert not gateway.state.connections
        assert not gateway.state.tasks
        assert not errors


async def test_a_client_that_was_about_to_go_does_not_break_the_stop(
    errors: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ABORT_AFTER", 0.15)
    app = Endpoint()
    async with running(app) as gateway, raw_client(gateway.port) as client:
        await fill(await app.opened.get())
        goodbye = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
        await asyncio.get_running_loop().sock_sendall(client, goodbye)
        await app.disconnects.get()

        gateway.server.stop()
        await gateway.ended

        assert not gateway.state.connections
        assert not errors


async def test_a_client_that_is_just_being_let_in_does_not_break_the_stop(errors: list[logging.LogRecord]) -> None:
    async def undecided(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()  # the disconnect
        await send({"type": "websocket.accept"})

    async with running(undecided) as gateway, raw_client(gateway.port) as client:
        await until(lambda: bool(gateway.state.tasks))
        gateway.server.stop()
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 503 ")
        await gateway.ended
        assert not errors


async def test_connections_of_uvicorns_own_class_are_stopped_too(errors: list[logging.LogRecord]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with running(app, ws="stock") as gateway, connect(gateway.url) as client:
        assert gateway.server.websockets() == 1
        gateway.server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await gateway.ended
        assert not errors
