"""/livez: the process serves. /readyz: it can do its work now, or one reason why not."""

import asyncio
import os
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse

from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.errors import ChatError
from shared.messages import Stats
from shared.store import Store

BROKER_TIMEOUT = 1.0  # seconds; a broker that is slower than this is of no use to a chat
STORE_TIMEOUT = 1.0  # the same
_NEVER_CACHED = {"cache-control": "no-store"}

STOPPING = "stopping"
NO_BROKER = "the broker cannot be reached"
NO_WORKER = "no worker has been seen lately"
NO_STORE = "the history cannot be written"


class Stoppable(Protocol):
    """Knows whether this process is about to stop."""

    stopping: bool


class Health:
    """The two endpoints."""

    def __init__(self, broker: GatewayBroker, hub: Stoppable, clock: Clock, name: str, store: Store | None) -> None:
        self._broker = broker
        self._store = store
        self._hub = hub
        self._clock = clock
        self._name = name
        self._started_at = clock.now()

    async def livez(self, request: Request) -> JSONResponse:
        """Always 200: a process that cannot answer is not alive."""
        return JSONResponse({"status": "alive"}, headers=_NEVER_CACHED)

    async def readyz(self, request: Request) -> JSONResponse:
        """200, or 503 with the reason in plain words; `?verbose` adds what operators ask next. `?exclude=worker` leaves
        a check out, as often as it is given: a load balancer may send clients here though they will have to wait."""
        stats, stored = await asyncio.gather(self._stats(), self._stored())
        found = checks(self._hub.stopping, stats, stored=stored, trouble=getattr(self._broker, "trouble", ""))
        excluded = request.query_params.getlist("exclude")
        reason = next((why for name, why in found.items() if why != "ok" and name not in excluded), None)
        body: dict[str, Any] = {"status": "ready"} if reason is None else {"status": "unready", "reason": reason}
        if "verbose" in request.query_params:
            body |= self._details(found, stats)
        return JSONResponse(body, 200 if reason is None else 503, headers=_NEVER_CACHED)

    async def _stats(self) -> Stats | None:
        try:
            return await asyncio.wait_for(self._broker.stats(), BROKER_TIMEOUT)
        except (TimeoutError, ChatError):
            return None

    async def _stored(self) -> bool:
        if self._store is None:
            return True
        try:
            await asyncio.wait_for(self._store.check(), STORE_TIMEOUT)
        except (TimeoutError, ChatError):
            return False
        return True

    def _details(self, found: dict[str, str], stats: Stats | None) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "gateway": self._name,
            "uptime_seconds": round(self._clock.now() - self._started_at, 1),
            "checks": found,
            "broker": None if stats is None else msgspec.structs.asdict(stats),
        }


def checks(stopping: bool, stats: Stats | None, *, stored: bool = True, trouble: str = "") -> dict[str, str]:
    """What is looked at, the gravest first: `ok`, or what is wrong. Without its broker nothing is known of workers.
    `trouble`: what a broker on the network says of itself, when it can."""
    return {
        "process": STOPPING if stopping else "ok",
        "broker": trouble or NO_BROKER if stats is None else "ok",
        "store": "ok" if stored else NO_STORE,
        "worker": NO_WORKER if stats is None or not stats.workers else "ok",
    }
