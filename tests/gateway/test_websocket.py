"""The endpoint over the real application: through our own server class, and through an ASGI server that is not ours."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect, WebSocketUpgradeError, aconnect_ws
from httpx_ws.transport import ASGIWebSocketTransport
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from gateway.app import build_app, running
from gateway.hub import Hub
from gateway.patience import Patience
from gateway.plain import PlainDialect
from gateway.protocol import JsonDialect
from gateway.websocket import choose_dialect
from shared.brokers.memory import MemoryBroker
from shared.brokers.sides import WorkerSide
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.messages import (
    Delta,
    Done,
    Event,
    Flag,
    Flush,
    Lease,
    Started,
    Tally,
    Timing,
    Usage,
    encode_events,
    text_sha256,
)
from shared.request import decode_request
from shared.settings import GatewaySettings, Settings
from tests.gateway.serving import raw_client, serving, until

V1 = "llm-chat.v1"
KEY = "llm-chat.key.s3cret"
LARGEST = 65_536
FOREIGN = "https://evil.example"
LISTED = "https://chat.example"


# --- a service in one process ---------------------------------------------------------------------------------------


async def echo(worker: WorkerSide) -> None:
    """Answer every message as the echo engine does."""
    seen, held = 0, set[int]()
    while True:
        polled = await worker.poll(seen, [*held], 10)
        seen = polled.number
        held -= set(polled.lost)
        for lease in polled.leases:
            await worker.append([reply(lease)])


def reply(lease: Lease) -> Flush:
    content = decode_request(lease.request).turns[-1].content
    chunks = [f"chunk {n}: {content}" for n in range(1, 6)]
    deltas = [chunks[0], *("\n" + chunk for chunk in chunks[1:])]
    end = Done("stop", Usage(1, 5, False), Timing(0, 0, 0), text_sha256("".join(deltas)))
    events: list[Event] = [Started("echo"), *map(Delta, deltas), end]
    flags = int(Flag.STARTED | Flag.TERMINAL)
    return Flush(lease.number, 0, len(events), flags, Tally(5, 5, 1, 0), encode_events(events))


class Service:
    """The application and what is behind it."""

    def __init__(self, app: Starlette, hub: Hub, memory: MemoryBroker) -> None:
        self.app = app
        self.hub = hub
        self.memory = memory


@asynccontextmanager
async def service(**settings: Any) -> AsyncIterator[Service]:
    clock, limits = SystemClock(), Limits()
    memory = MemoryBroker(clock, limits)
    gateway, worker = memory.gateway("gateway"), memory.worker("worker")
    hub = Hub(gateway, clock, Patience())
    whole = Settings(gateway=GatewaySettings(origins=(LISTED,), **settings))
    working = asyncio.create_task(echo(worker))
    try:
        async with running(hub, lambda: None):
            yield Service(build_app(whole, gateway, hub, clock), hub, memory)
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        memory.close()


class Socket:
    """A client's side, over whichever server."""

    def __init__(self, session: ClientConnection | AsyncWebSocketSession) -> None:
        self._session = session

    @property
    def subprotocol(self) -> str | None:
        return self._session.subprotocol

    async def send(self, data: str | bytes) -> None:
        if isinstance(self._session, ClientConnection):
            await self._session.send(data)
        elif isinstance(data, str):
            await self._session.send_text(data)
        else:
            await self._session.send_bytes(data)

    async def say(self, type: str, **fields: Any) -> None:
        await self.send(json.dumps({"type": type} | fields))

    async def text(self) -> str:
        if isinstance(self._session, ClientConnection):
            return str(await self._session.recv())
        return await self._session.receive_text()

    async def texts(self, count: int) -> list[str]:
        return [await self.text() for _ in range(count)]

    async def frame(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.text())
        return found

    async def frames(self, last: str) -> list[dict[str, Any]]:
        """All up to one of this type."""
        found = [await self.frame()]
        while found[-1]["type"] != last:
            found.append(await self.frame())
        return found

    async def close_code(self) -> int | None:
        """Wait for the server to close."""
        try:
            await self.text()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else None
        except WebSocketDisconnect as error:
            return error.code
        raise AssertionError("a frame where a close was to come")


class Server:
    """A way to connect to a service."""

    def __init__(self, kind: str, service: Service, url: str) -> None:
        self.kind = kind
        self.service = service
        self._url = url

    @asynccontextmanager
    async def socket(self, *subprotocols: str, **headers: str) -> AsyncIterator[Socket]:
        if self.kind != "any":
            given: list[Any] = list(subprotocols)
            async with connect(self._url, subprotocols=given or None, additional_headers=headers) as session:
                yield Socket(session)
            return
        async with httpx.AsyncClient(transport=ASGIWebSocketTransport(self.service.app)) as client:
            asked: dict[str, Any] = {"subprotocols": [*subprotocols] or None, "headers": headers}
            limits: dict[str, Any] = {"max_message_size_bytes": 1 << 20, "keepalive_ping_interval_seconds": None}
            opening: Any = aconnect_ws("ws://test/ws", client, **asked, **limits)
            async with opening as foreign:
                yield Socket(foreign)

    async def refused(self, *subprotocols: str, **headers: str) -> int:
        """The status of the answer to an upgrade that fails."""
        with pytest.raises((InvalidStatus, ExceptionGroup)) as refused:
            async with self.socket(*subprotocols, **headers):
                pass
        error: BaseException = refused.value
        while isinstance(error, BaseExceptionGroup):
            (error,) = error.exceptions
        assert isinstance(error, InvalidStatus | WebSocketUpgradeError)
        return error.response.status_code


@pytest.fixture(params=["own", "stock", "any"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """The whole service, through our own server class, through uvicorn's, and through another server than uvicorn."""
    async with service() as found:
        if request.param == "any":
            yield Server("any", found, "")
        else:
            async with serving(found.app, ws=request.param) as served:
                yield Server(request.param, found, served.url)
        await until(lambda: len(found.hub) == 0)
        assert found.hub._sessions == {}


# --- the handshake --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "dialect", "answered"),
    [
        ([], PlainDialect, None),
        ([V1], JsonDialect, V1),
        ([V1, KEY], JsonDialect, V1),
        ([KEY, "chat", V1], JsonDialect, V1),
    ],
)
def test_the_subprotocol_chooses_the_dialect(asked: list[str], dialect: type, answered: str | None) -> None:
    found = choose_dialect(asked)
    assert found is not None
    assert (found[0], type(found[1])) == (answered, dialect)


@pytest.mark.parametrize("asked", [["chat"], [KEY], ["llm-chat.v2", KEY], ["LLM-CHAT.V1"], [""]])
def test_who_asks_only_for_what_is_not_spoken_gets_nothing(asked: list[str]) -> None:
    assert choose_dialect(asked) is None


@pytest.mark.parametrize("asked", [[V1], [V1, KEY]])
async def test_the_subprotocol_is_answered_and_a_key_is_not(server: Server, asked: list[str]) -> None:
    async with server.socket(*asked) as socket:
        assert socket.subprotocol == V1
        await socket.say("ping", nonce=1)
        assert await socket.frame() == {"type": "pong", "nonce": 1}


async def test_no_subprotocol_is_answered_by_none(server: Server) -> None:
    async with server.socket() as socket:
        assert socket.subprotocol is None


@pytest.mark.parametrize("asked", [["chat"], [KEY]])
async def test_a_client_that_speaks_nothing_of_ours_is_answered_400(server: Server, asked: list[str]) -> None:
    assert await server.refused(*asked) == 400


@pytest.mark.parametrize("asked", [[], [V1], ["chat"]])
@pytest.mark.parametrize("origin", [FOREIGN, "null", "file://"])
async def test_a_foreign_page_is_answered_403(server: Server, asked: list[str], origin: str) -> None:
    assert await server.refused(*asked, Origin=origin) == 403


async def test_a_listed_page_is_let_in(server: Server) -> None:
    async with server.socket(Origin=LISTED) as socket:
        await socket.send("Hi")
        assert await socket.text() == "chunk 1: Hi"


# --- exchanges ------------------------------------------------------------------------------------------------------


async def test_a_plain_exchange_is_nothing_but_chunks(server: Server) -> None:
    async with server.socket() as socket:
        for message in ("Hello, LLM!", "Grüße 😀", "two\nlines"):
            await socket.send(message)
        for message in ("Hello, LLM!", "Grüße 😀", "two\nlines"):
            assert await socket.texts(5) == [f"chunk {n}: {message}" for n in range(1, 6)]
        await socket.send("")
        assert (await socket.text()).startswith("error: invalid_message: ")
        await socket.send("still here")
        assert await socket.text() == "chunk 1: still here"


async def test_a_json_exchange(server: Server) -> None:
    async with server.socket(V1) as socket:
        await socket.say("message", id="m1", content="Hi")
        frames = await socket.frames("done")
        assert [frame["type"] for frame in frames] == ["session", "accepted", "started", *["delta"] * 5, "done"]
        text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
        assert text == "\n".join(f"chunk {n}: Hi" for n in range(1, 6))
        assert frames[-1]["text_sha256"] == text_sha256(text)


async def test_who_comes_back_gets_what_is_missing(server: Server) -> None:
    async with server.socket(V1) as socket:
        await socket.say("message", id="m1", content="Hi")
        first = await socket.frames("done")
    async with server.socket(V1) as socket:
        await socket.say("resume", session_id=first[0]["session_id"], after=first[4]["cursor"])
        await socket.say("message", id="m2", content="Ho")
        frames = await socket.frames("done")
        assert frames[0] == first[0] | {"resumed": True}
        assert frames[1:] == first[5:]
        again = await socket.frames("done")
        assert [frame["id"] for frame in again] == ["m2"] * 8


async def test_wrong_frames_are_answered_and_the_connection_stays(server: Server) -> None:
    async with server.socket(V1) as socket:
        for frame, code in (({"type": "sing"}, "unknown_type"), ({"type": "cancel"}, "invalid_message")):
            await socket.send(json.dumps(frame))
            assert (await socket.frame())["code"] == code
        await socket.say("ping")
        assert await socket.frame() == {"type": "pong"}


# --- ends -----------------------------------------------------------------------------------------------------------


async def test_a_normal_close_ends_everything_but_the_reply(server: Server) -> None:
    async with server.socket(V1) as socket:
        await socket.say("message", id="m1", content="Hi")
        session = (await socket.frame())["session_id"]
    await until(lambda: len(server.service.hub) == 0)
    state = server.service.memory.state
    await until(lambda: any(item.terminal for item in state.read(session, None, 1 << 20).items))


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"type":5}', "[" * 60_000])
async def test_what_is_not_the_protocol_is_closed_with_4400(server: Server, text: str) -> None:
    async with server.socket(V1) as socket:
        await socket.send(text)
        assert await socket.close_code() == 4400


@pytest.mark.parametrize("asked", [[], [V1]])
@pytest.mark.parametrize("data", [b"", b"Hello", b"x" * LARGEST])
async def test_a_binary_frame_is_closed_with_1003(server: Server, asked: list[str], data: bytes) -> None:
    async with server.socket(*asked) as socket:
        await socket.send(data)
        assert await socket.close_code() == 1003


@pytest.mark.parametrize("character", ["x", "ü", "😀"])
async def test_exactly_the_largest_message_passes(server: Server, character: str) -> None:
    message = character * (LARGEST // len(character.encode()))
    assert len(message.encode()) == LARGEST
    async with server.socket() as socket:
        await socket.send(message)
        assert await socket.text() == f"chunk 1: {message}"


@pytest.mark.parametrize("character", ["x", "ü", "😀"])
async def test_one_byte_more_is_closed_with_1009(server: Server, character: str) -> None:
    message = character * (LARGEST // len(character.encode())) + "x"
    async with server.socket() as socket:
        await socket.send(message)
        assert await socket.close_code() == 1009


async def test_nothing_that_follows_a_fatal_frame_is_done(server: Server) -> None:
    async with server.socket(V1) as socket:
        await socket.send("nonsense")
        with suppress(ConnectionClosed):
            await socket.say("message", id="m1", content="Hi")
        assert await socket.close_code() == 4400
    assert server.service.memory.state.stats().sessions == 0


@pytest.mark.parametrize("asked", [[], [V1]])
@pytest.mark.parametrize("data", [b"\xff", b'{"type":"ping\xc3"}', "\ud800".encode(errors="surrogatepass")])
async def test_bad_utf8_is_closed_with_1007(asked: list[Any], data: bytes) -> None:
    async with (
        service() as found,
        serving(found.app) as served,
        connect(served.url, subprotocols=asked or None) as client,
    ):
        await client.send(data, text=True)
        assert await Socket(client).close_code() == 1007
        await until(lambda: len(found.hub) == 0)


async def test_a_reader_that_never_reads_is_nothing_to_the_others() -> None:
    async with service() as found, serving(found.app) as served:
        async with raw_client(served.port) as client, connect(served.url) as other:
            sending = asyncio.create_task(send_for_ever(client))
            await until(lambda: any(one.outbox.blocked_at is not None for one in found.hub._connections))
            for _ in range(3):
                await other.send("Hi")
                assert [await other.recv() for _ in range(5)] == [f"chunk {n}: Hi" for n in range(1, 6)]
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        await until(lambda: len(found.hub) == 0)


async def send_for_ever(client: socket.socket) -> None:
    """Ask for more than it takes."""
    frame = Frame(Opcode.TEXT, b"x" * LARGEST).serialize(mask=True)
    while True:
        await asyncio.get_running_loop().sock_sendall(client, frame)
