"""uvicorn, set up for chats and stopping the way chats need.

Stock uvicorn closes everything as soon as a signal comes, waits without end for a client that does not read, and ends
with status 143. Here the process first stops being ready and tells its clients to go elsewhere.
"""

import asyncio
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol, cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from gateway.deadlines import Deadlines
from gateway.front import Front
from gateway.sockets import BACKLOG, addresses
from gateway.uvicorn_http import HttpProtocol
from gateway.ws.common import Common
from gateway.ws.protocol import WebSocketProtocol
from shared.settings import GatewaySettings

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Seconds. What stops us kills us after five, so all of this together stays below four, whatever the settings say.
LONGEST_DRAIN = 1.5
ABORT_AFTER = 0.5  # for clients that do not take what is still unsent
GRACE = 1  # for endpoints
# Seconds that a connection without a request is kept. Whoever keeps it shorter closes it: clients after 5 s or so,
# nginx after 60. Else one side would use it while the other closes it, and a request would be lost.
KEEP_ALIVE = 75
CLOSE_TIMEOUT = 10.0  # for clients, while nothing stops: to answer a close, and to take what is unsent before it
SAME_STOP = 0.5  # one Ctrl-C reaches a process by its group and by its parent: two signals, one wish
RETRY_AFTER_MS = (500, 2_000)  # clients that come back all at once would be a second outage

log = structlog.get_logger("gateway")


class Leaving(Protocol):
    """What a server must be able to tell the sessions."""

    stopping: bool

    def going_away(self, retry_after_ms: int) -> None:
        """Tell every client that can understand it."""
        ...

    def farewell(self) -> None:
        """End what does not end with its socket."""
        ...

    def __len__(self) -> int:
        """Clients that hear something, or wait to."""
        ...


def configure(app: ASGIApp, settings: GatewaySettings) -> uvicorn.Config:
    """uvicorn's settings; there is nothing in them for users to choose."""
    nascent = Deadlines(settings.handshake_timeout)
    common = Common(settings.max_message_bytes, settings.ping_interval, CLOSE_TIMEOUT)
    own = settings.ws == "own"
    http = partial(Front, nascent, common) if own else partial(HttpProtocol, nascent)
    return uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], http),
        ws=cast(type[asyncio.Protocol], partial(WebSocketProtocol, common)) if own else "websockets-sansio",
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=settings.ping_interval,
        ws_ping_timeout=settings.ping_interval,
        ws_per_message_deflate=False,  # 46 KB per connection
        lifespan="on",
        log_config=None,
        log_level="warning",  # else a line per connection
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


class Server(uvicorn.Server):
    """Serves until a signal comes or `fail` is called; `serve` then returns, and never raises the signal again."""

    def __init__(self, config: uvicorn.Config, sessions: Leaving, drain_delay: float) -> None:
        super().__init__(config)
        self.failed = False
        self._sessions = sessions
        self._drain_delay = min(drain_delay, LONGEST_DRAIN)
        self._asked_at: float | None = None  # when the stop began, on the loop's clock

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """By the event loop, which lets go of them when it is closed."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.on_signal)
        yield

    def on_signal(self) -> None:
        """The first one stops; a second one means: at once."""
        if self._asked_at is None:
            self.stop()
        elif asyncio.get_running_loop().time() - self._asked_at > SAME_STOP:
            self.should_exit = True
            self.abort_connections()

    def fail(self) -> None:
        """Stop because something is broken in here."""
        self.failed = True
        self.stop()

    def stop(self) -> None:
        """Begin to stop: not ready, no new sockets, hints to the clients."""
        if self._asked_at is not None:
            return
        self._asked_at = asyncio.get_running_loop().time()
        log.info("stopping", connections=self.websockets())
        self._sessions.stopping = True
        self._tell(lambda: self._sessions.going_away(random.randint(*RETRY_AFTER_MS)))

    def _tell(self, say: Callable[[], None]) -> None:
        try:
            say()
        except Exception:
            log.exception("the clients were not told that this gateway stops")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As in stock, and say where."""
        await super().startup(sockets)
        log.info("listening", on=" ".join(addresses(sockets or [])))

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second. A stop waits a little for the clients to leave by themselves."""
        if self._asked_at is not None and (self._is_alone() or self._waited_enough(self._asked_at)):
            self.should_exit = True
        return await super().on_tick(counter)

    def _is_alone(self) -> bool:
        return not self.websockets() and not len(self._sessions)

    def _waited_enough(self, since: float) -> bool:
        return asyncio.get_running_loop().time() - since >= self._drain_delay

    def websockets(self) -> int:
        """How many are open."""
        return sum(not isinstance(one, HttpProtocol | Front) for one in self.server_state.connections)

    def abort_connections(self) -> None:
        """Drop them all, with what is unsent."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As in stock: 1012 to all. Clients that do not read are not waited for."""
        self._tell(self._sessions.farewell)
        timer = asyncio.get_running_loop().call_later(ABORT_AFTER, self.abort_connections)
        await super().shutdown(sockets)
        timer.cancel()
