import asyncio
import os
from typing import Any, cast

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from gateway import health
from gateway.health import Health, checks
from shared.broker import GatewayBroker
from shared.errors import BrokerUnavailable
from shared.messages import Stats
from tests.conftest import FakeClock
from tests.gateway.serving import FakeSessions
from tests.memory_store import MemoryStore

STATS = Stats(epoch="e1", sessions=7, queued=3, running=2, suspects=0, workers=4, gateways=1, kept_bytes=900)
IDLE = Stats(epoch="e1", sessions=0, queued=0, running=0, suspects=0, workers=0, gateways=1, kept_bytes=0)


class FakeBroker:
    """Answers `stats` with what it is given: an answer, an error, or never (None)."""

    def __init__(self, answer: Stats | Exception | None) -> None:
        self.answer = answer

    def stats(self) -> "asyncio.Future[Stats]":
        future: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        elif self.answer is not None:
            future.set_result(self.answer)
        return future


class Gateway:
    """The two endpoints of one process."""

    def __init__(self, clock: FakeClock) -> None:
        self.broker = FakeBroker(STATS)
        self.hub = FakeSessions()
        self.store = MemoryStore()
        endpoints = Health(cast(GatewayBroker, self.broker), self.hub, clock, "host-1-abc", self.store)
        self._app = Starlette(routes=[Route("/livez", endpoints.livez), Route("/readyz", endpoints.readyz)])

    async def get(self, path: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(self._app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get(path)


@pytest.fixture
def gateway(clock: FakeClock) -> Gateway:
    return Gateway(clock)


async def test_a_gateway_with_broker_and_worker_is_ready(gateway: Gateway) -> None:
    response = await gateway.get("/readyz")

    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (IDLE, "no worker has been seen lately"),
        (BrokerUnavailable(), "the broker cannot be reached"),
    ],
)
async def test_what_is_missing_is_said(gateway: Gateway, answer: Any, reason: str) -> None:
    gateway.broker.answer = answer

    response = await gateway.get("/readyz")

    assert (response.status_code, response.json()) == (503, {"status": "unready", "reason": reason})


@pytest.mark.parametrize(
    ("query", "answer", "status"),
    [
        ("exclude=worker", IDLE, 200),
        ("exclude=store&exclude=worker", IDLE, 200),
        ("exclude=store", IDLE, 503),
        ("exclude=workers", IDLE, 503),
        ("exclude=worker", BrokerUnavailable(), 503),
    ],
)
async def test_a_check_can_be_left_out(gateway: Gateway, query: str, answer: Any, status: int) -> None:
    gateway.broker.answer = answer

    response = await gateway.get(f"/readyz?verbose&{query}")

    assert response.status_code == status
    assert response.json()["checks"]["worker"] == "no worker has been seen lately"  # it is told all the same


async def test_a_store_that_is_away_is_said(gateway: Gateway) -> None:
    gateway.store.away = True

    response = await gateway.get("/readyz")

    assert (response.status_code, response.json()["reason"]) == (503, "the history cannot be written")


async def test_a_broker_that_does_not_answer_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BROKER_TIMEOUT", 0.01)
    gateway.broker.answer = None

    response = await gateway.get("/readyz")

    assert (response.status_code, response.json()["reason"]) == (503, "the broker cannot be reached")


async def test_a_gateway_that_stops_is_not_ready_but_alive(gateway: Gateway) -> None:
    gateway.hub.stopping = True

    ready, live = await gateway.get("/readyz"), await gateway.get("/livez")

    assert (ready.status_code, ready.json()) == (503, {"status": "unready", "reason": "stopping"})
    assert (live.status_code, live.json()) == (200, {"status": "alive"})


async def test_a_gateway_without_its_broker_is_alive(gateway: Gateway) -> None:
    gateway.broker.answer = BrokerUnavailable()

    assert (await gateway.get("/livez")).status_code == 200


async def test_verbose_adds_what_operators_ask_next(gateway: Gateway, clock: FakeClock) -> None:
    clock.advance(12.34)

    body = (await gateway.get("/readyz?verbose")).json()

    assert body == {
        "status": "ready",
        "pid": os.getpid(),
        "gateway": "host-1-abc",
        "uptime_seconds": 12.3,
        "checks": {"process": "ok", "broker": "ok", "store": "ok", "worker": "ok"},
        "broker": {
            "epoch": "e1",
            "sessions": 7,
            "queued": 3,
            "running": 2,
            "suspects": 0,
            "workers": 4,
            "gateways": 1,
            "kept_bytes": 900,
        },
    }


async def test_verbose_without_a_broker_has_no_numbers(gateway: Gateway) -> None:
    gateway.broker.answer = BrokerUnavailable()

    body = (await gateway.get("/readyz?verbose=1")).json()

    assert body["broker"] is None
    assert body["reason"] == "the broker cannot be reached"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz?verbose"])
async def test_the_answers_are_never_cached(gateway: Gateway, path: str) -> None:
    assert (await gateway.get(path)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("stopping", "stats", "first"),
    [(True, None, "stopping"), (True, STATS, "stopping"), (False, None, "the broker cannot be reached")],
)
def test_the_gravest_reason_comes_first(stopping: bool, stats: Stats | None, first: str) -> None:
    assert next(reason for reason in checks(stopping, stats).values() if reason != "ok") == first
