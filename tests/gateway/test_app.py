import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import httpx2
import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import app as module
from gateway.app import EndQuietly, build_app, running
from gateway.hub import Hub
from gateway.websocket import ChatSocket
from shared.broker import GatewayBroker
from shared.settings import GatewaySettings, Settings
from tests.conftest import FakeClock
from tests.gateway.serving import FakeSessions, Served, serving


class FakeHub(FakeSessions):
    """Its `run` ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        self.cancelled = self.closed = False

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.shield(self.ends)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def close(self) -> None:
        self.closed = True


class Deaths:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0
        self.seen = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.seen.set()


@asynccontextmanager
async def gateway(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[tuple[Served, FakeHub]]:
    """The real routes; behind /ws only a word instead of sessions."""

    async def greet(self: ChatSocket, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "welcome"})

    monkeypatch.setattr(ChatSocket, "__call__", greet)
    hub = FakeHub()
    whole = Settings(gateway=GatewaySettings(**settings))
    app = build_app(whole, cast(GatewayBroker, None), cast(Hub, hub), clock)
    async with serving(app) as served:
        yield served, hub


async def request(served: Served, method: str, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.request(method, f"http://127.0.0.1:{served.port}{path}")


async def test_the_socket_is_on_ws(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(clock, monkeypatch) as (served, _), connect(served.url) as client:
        assert await client.recv() == "welcome"


async def test_a_gateway_about_to_stop_lets_nobody_in(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(clock, monkeypatch) as (served, hub):
        hub.stopping = True
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.url)

    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["retry-after"] == "1"


async def test_a_socket_anywhere_else_is_not_found(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(clock, monkeypatch) as (served, _):
        for path in ("", "s/", "/chat", "/deeper/down"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(served.url + path if path else served.url.removesuffix("ws"))
            assert refused.value.response.status_code == 404


async def test_ws_as_a_page_asks_for_an_upgrade(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(clock, monkeypatch) as (served, _):
        response = await request(served, "GET", "/ws")

    assert response.status_code == 426
    assert response.headers["upgrade"] == "websocket"
    assert f"ws://127.0.0.1:{served.port}/ws" in response.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/ws/", 404, "not_found"),
        ("GET", "/livez/", 404, "not_found"),
        ("POST", "/", 405, "method_not_allowed"),
    ],
)
async def test_refusals_are_json(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int, code: str
) -> None:
    async with gateway(clock, monkeypatch) as (served, _):
        response = await request(served, method, path)

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/", "/livez"])
async def test_pages_answer_get_and_head(clock: FakeClock, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    async with gateway(clock, monkeypatch) as (served, _):
        full = await request(served, "GET", path)
        head = await request(served, "HEAD", path)

    assert (full.status_code, head.status_code, head.content) == (200, 200, b"")


async def test_a_failure_in_here_is_told_without_its_traceback(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(clock, monkeypatch) as (served, _):
        response = await request(served, "GET", "/readyz")  # there is no broker object at all

    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "Traceback" not in response.text
    assert "NoneType" not in response.text


# --- the hub's life -------------------------------------------------------------------------------------------------


async def test_the_hub_runs_as_long_as_the_application() -> None:
    hub, deaths = FakeHub(), Deaths()
    async with running(cast(Hub, hub), deaths):
        await hub.begun.wait()
        assert not hub.cancelled

    assert (hub.cancelled, hub.closed, deaths.count) == (True, True, 0)


@pytest.mark.parametrize("failure", [RuntimeError("lost its way"), None])
async def test_the_death_of_the_hub_is_reported(failure: Exception | None) -> None:
    hub, deaths = FakeHub(), Deaths()
    async with running(cast(Hub, hub), deaths):
        if failure is None:
            hub.ends.set_result(None)
        else:
            hub.ends.set_exception(failure)
        await deaths.seen.wait()

    assert (deaths.count, hub.closed) == (1, True)


async def test_a_hub_that_ends_when_it_is_told_to_is_not_dead() -> None:
    class Obedient(FakeHub):
        async def run(self) -> None:
            with suppress(asyncio.CancelledError):
                await super().run()

    hub, deaths = Obedient(), Deaths()
    async with running(cast(Hub, hub), deaths):
        await hub.begun.wait()

    assert (hub.cancelled, hub.closed, deaths.count) == (True, True, 0)


async def test_a_hub_that_does_not_end_does_not_keep_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HUB_CLOSE_TIMEOUT", 0.01)

    class Stubborn(FakeHub):
        async def close(self) -> None:
            await asyncio.Event().wait()

    deaths = Deaths()
    async with running(cast(Hub, Stubborn()), deaths):
        pass

    assert deaths.count == 0


async def test_an_endpoint_that_is_cancelled_ends_quietly() -> None:
    begun = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(EndQuietly(endless)({}, cast(Receive, None), cast(Send, None)))
    await begun.wait()
    task.cancel()
    await task  # does not raise
