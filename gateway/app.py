"""The ASGI application: every route, and what lives as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import describe, openai, own_pages, pages, rest, vercel
from gateway.auth import desk
from gateway.auth.gate import Gate
from gateway.auth.middleware import Authentication
from gateway.health import Health, Stoppable
from gateway.hub import Hub
from gateway.local_hosts import LocalHosts
from gateway.websocket import ChatSocket
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.settings import Settings
from shared.store import Store

HUB_CLOSE_TIMEOUT = 0.3  # seconds, twice at most: stopping must not hang on a broker that does not answer

log = structlog.get_logger("gateway")


def build_app(
    settings: Settings,
    broker: GatewayBroker,
    hub: Hub,
    clock: Clock,
    *,
    store: Store | None = None,
    name: str = "gateway",
    gate: Gate | None = None,
    local: bool = False,
    on_hub_death: Callable[[], None] = lambda: None,
) -> Starlette:
    """The gateway as an ASGI application. `store`: where conversations last; None: nowhere. `name` is this process's;
    `gate` says who may use it (None: everybody; `local`: who calls this machine by a name that is its own);
    `on_hub_death` is called once where the hub ends by itself: nothing works then, so the process should end too."""
    health = Health(broker, hub, clock, name, store)
    routes = [
        Route("/", pages.IndexPage().show),
        Route("/livez", health.livez),
        Route("/readyz", health.readyz),
        Route("/ws", pages.upgrade_required),
        *desk.routes(gate),
        *rest.routes(hub, broker, store, clock, settings.gateway),
        *vercel.routes(hub, broker, settings.gateway),
        *openai.routes(settings, hub, broker, clock, store),
        *describe.routes(rest.PATHS, vercel.PATHS, openai.PATHS, largest_message=settings.gateway.max_message_bytes),
        WebSocketRoute("/{path:path}", pages.no_such_socket),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(hub, on_hub_death):
            yield

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(EndQuietly),
            *([Middleware(LocalHosts, settings.gateway.origins)] if local else []),
            *own_pages.middleware(settings.gateway.origins),
            Middleware(Authentication, gate),
            Middleware(Shortcut, "/ws", Door(ChatSocket(hub, settings), hub)),
        ],
        exception_handlers={HTTPException: pages.http_error, Exception: pages.internal_error},
    )
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def running(hub: Hub, on_death: Callable[[], None]) -> AsyncIterator[None]:
    """The hub at work, watched."""

    def watch(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("the hub has stopped: this gateway is of no use any more", exc_info=task.exception())
            on_death()

    task = asyncio.create_task(hub.run(), name="hub")
    task.add_done_callback(watch)
    try:
        yield
    finally:
        task.remove_done_callback(watch)
        task.cancel()
        await asyncio.wait({task}, timeout=HUB_CLOSE_TIMEOUT)
        with suppress(TimeoutError):
            await asyncio.wait_for(hub.close(), HUB_CLOSE_TIMEOUT)


class Door:
    """Lets no new WebSocket in once the process is about to stop."""

    def __init__(self, app: ASGIApp, hub: Stoppable) -> None:
        self._app = app
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hub.stopping:
            refusal = pages.error(
                503, "stopping", "This gateway is about to stop; connect again.", {"retry-after": "1"}
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Shortcut:
    """One WebSocket's route before all others: nearly all connections are for that, and the router takes its time."""

    def __init__(self, app: ASGIApp, path: str, socket: ASGIApp) -> None:
        self._app = app
        self._path = path
        self._socket = socket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        straight = scope["type"] == "websocket" and scope["path"] == self._path
        await (self._socket if straight else self._app)(scope, receive, send)


class EndQuietly:
    """An endpoint that outlives its connection is cancelled when the server stops: uvicorn would show a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)
