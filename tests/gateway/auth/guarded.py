"""A gateway's whole application behind a guarded gate, on a real port, with an in-process broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from gateway.app import build_app, running
from gateway.auth.gate import Checks, GuardedGate
from gateway.auth.jwt_check import TokenCheck
from gateway.auth.jwt_keys import parse_key
from gateway.auth.keys import ApiKey, KeyRing, make_key
from gateway.auth.tickets import Tickets
from gateway.hub import Hub
from gateway.patience import Patience
from gateway.submitting import Keeping
from shared.brokers.memory import MemoryBroker
from shared.brokers.state import Limits
from shared.clock import SystemClock
from shared.settings import Settings
from shared.window import Window
from tests.gateway.auth.tokens import SECRET
from tests.gateway.chatting import HeldBroker
from tests.gateway.serving import serving
from tests.memory_store import MemoryStore

V1 = "llm-chat.v1"


class Guarded:
    """What callers reach at `port`. `records` are the keys that are good."""

    def __init__(self, app: Starlette, port: int, broker: HeldBroker, keys: dict[str, str], ring: list[KeyRing]):
        self.app = app
        self.port = port
        self.broker = broker
        self.keys = keys  # by owner
        self._ring = ring

    def revoke_all(self) -> None:
        """No key is good any more."""
        self._ring[0] = KeyRing()

    async def ask(self, method: str, path: str, bearer: str | None = None, body: Any = None) -> httpx2.Response:
        """An HTTP request, with the body as JSON if there is one."""
        headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
        async with httpx2.AsyncClient() as client:
            return await client.request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, json=body)

    def socket(self, *names: str, bearer: str | None = None, path: str = "/ws", **headers: str) -> Any:
        """A WebSocket, to be awaited or entered."""
        if bearer is not None:
            headers["authorization"] = f"Bearer {bearer}"
        given: Any = list(names) or None
        return connect(f"ws://127.0.0.1:{self.port}{path}", subprotocols=given, additional_headers=headers)

    async def refused(self, *names: str, **more: Any) -> Response:
        """The answer to an upgrade that must fail."""
        try:
            socket: ClientConnection = await self.socket(*names, **more)
        except InvalidStatus as refused:
            return refused.response
        await socket.close()
        raise AssertionError("let in")


@asynccontextmanager
async def guarded(*owners: str) -> AsyncIterator[Guarded]:
    """One key for each owner; tokens are signed with tokens.SECRET."""
    clock = SystemClock()
    memory = MemoryBroker(clock, Limits())
    made: dict[str, tuple[ApiKey, str]] = {owner: make_key(owner, 0.0) for owner in owners}
    ring = [KeyRing(record for record, _ in made.values())]
    broker = HeldBroker(memory.gateway("gateway"))
    whole: Any = broker
    checks = Checks(lambda: ring[0], TokenCheck(lambda: parse_key(SECRET)), Tickets(b"secret"))
    store = MemoryStore()
    hub = Hub(whole, clock, Patience(keys=checks.ring), Keeping(store, whole, clock, Window(8192, 1024)))
    app = build_app(Settings(), whole, hub, clock, store=store, gate=GuardedGate(checks, whole, clock))
    try:
        async with running(hub, lambda: None), serving(app) as served:
            yield Guarded(app, served.port, broker, {owner: key for owner, (_, key) in made.items()}, ring)
    finally:
        memory.close()


async def say(socket: ClientConnection, text: str) -> str:
    """Send a frame; returns the next one that comes."""
    await socket.send(text)
    return str(await asyncio.wait_for(socket.recv(), 5))
