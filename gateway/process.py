"""One gateway process, from its settings and sockets to its exit status."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import structlog

from gateway.app import build_app
from gateway.auth.gate import Checks, GuardedGate
from gateway.auth.opening import decided, open_checks
from gateway.hub import Hub
from gateway.patience import Patience
from gateway.server import SIGNALS, Server, configure
from gateway.submitting import Keeping
from shared.broker import GatewayBroker, NoBroker
from shared.brokers import open_gateway_broker
from shared.children import watch_parent
from shared.clock import SystemClock
from shared.garbage import settle
from shared.settings import Settings
from shared.store import Store, open_store
from shared.window import Window

CANNOT_SERVE = 1  # the exit status: it may be otherwise the next time
WRONG_SETTING = 2  # the exit status: starting again would not help
CLOSE_TIMEOUT = 0.5  # seconds, for the broker and again for the store

log = structlog.get_logger("gateway")


def serve(settings: Settings, sockets: list[socket.socket], *, has_parent: bool = False) -> int:
    """Serve until a signal comes; returns the exit status. `has_parent`: it was started by gateway.supervisor and ends
    when that ends."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        status = runner.run(_serve(settings, sockets, has_parent))
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a late one could only spoil the exit status
    return status


async def _serve(settings: Settings, sockets: list[socket.socket], has_parent: bool) -> int:
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    store: Store | None = None
    try:
        checks = open_checks(decided(settings, sockets).auth, SystemClock())
        store = await open_store(settings)
        broker = await _unless_stopped(asyncio.ensure_future(open_gateway_broker(settings, name, patient=has_parent)))
    except ValueError as error:
        sys.stderr.write(f"gateway: {error}\n")
        await _close(store)
        return CANNOT_SERVE if isinstance(error, NoBroker) and not has_parent else WRONG_SETTING
    if broker is None:
        await _close(store)
        return 0
    try:
        return await _serve_with(broker, store, checks, settings, sockets, name, has_parent)
    finally:
        await _close(broker)
        await _close(store)


async def _unless_stopped(opening: asyncio.Future[GatewayBroker]) -> GatewayBroker | None:
    """None where a signal came before the broker was there."""
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        opening.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        broker = await opening
        if not stopped.is_set():
            return broker
        await _close(broker)
    return None


async def _close(what: GatewayBroker | Store | None) -> None:
    if what is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(what.close(), CLOSE_TIMEOUT)


async def _serve_with(
    broker: GatewayBroker,
    store: Store | None,
    checks: Checks | None,
    settings: Settings,
    sockets: list[socket.socket],
    name: str,
    has_parent: bool,
) -> int:
    clock = SystemClock()
    keys = None if checks is None else checks.ring
    gate = None if checks is None else GuardedGate(checks, broker, clock)
    window = Window(settings.context.tokens, settings.context.reply_tokens)
    keeping = None if store is None else Keeping(store, broker, clock, window)
    patience = Patience(settings.gateway.send_timeout, settings.gateway.idle_timeout, keys)
    hub = Hub(broker, clock, patience, keeping)
    app = build_app(settings, broker, hub, clock, store=store, name=name, gate=gate, on_hub_death=lambda: server.fail())
    server = Server(configure(app, settings.gateway), hub, settings.gateway.drain_delay)
    if has_parent:
        watch_parent(asyncio.get_running_loop(), server.stop)
    settle()
    await server.serve(sockets)
    return 1 if server.failed else 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # it is not made for every system
        return asyncio.new_event_loop
    return uvloop.new_event_loop
