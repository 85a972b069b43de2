"""The endpoint over the real application: through our own server class, and through an ASGI server that is not ours."""

import asyncio
import json
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
from gateway.hub import Hub, Patience
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
    Item,
    Lease,
    Started,
    Tally,
    Timing,
    Usage,
    decode_request,
    encode_events,
    text_sha256,
)
from shared.settings import GatewaySettings, Settings
from tests.gateway.serving import UPGRADE, raw_client, read_to_end, serving, until

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


def reply(lease: Lease) -> Item:
    content = decode_request(lease.request).turns[-1].content
    chunks = [f"chunk {n}: {content}" for n in range(1, 6)]
    deltas = [chunks[0], *("\n" + chunk for chunk in chunks[1:])]
    end = Done("stop", Usage(1, 5, False), Timing(0, 0, 0), text_sha256("".join(deltas)))
    events: list[Event] = [Started("echo"), *map(Delta, deltas), end]
    flags = int(Flag.STARTED | Flag.TERMINAL)
    one = lease
    return Item(
        *(one.session, one.generation, one.attempt, one.nonce, one.id, 0, len(events), flags),
        Tally(5, 5, 1, 0),
        encode_events(events),
    )


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
        if self.kind == "ours":
            given: list[Any] = list(subprotocols)
            async with connect(self._url, subprotocols=given or None, additional_headers=headers) as session:
                yield Socket(session)
            return
        async with (
            httpx.AsyncClient(transport=ASGIWebSocketTransport(self.service.app)) as client,
            aconnect_ws("ws://test/ws", client, subprotocols=[*subprotocols] or None, headers=headers) as session,
        ):
            yield Socket(session)

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
