"""Sessions over HTTP, under /api/sessions."""

from starlette.routing import Route

from gateway.hub import Hub
from gateway.resource import Resource
from gateway.rest.description import PATHS
from gateway.rest.history import History
from gateway.rest.live import Live
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.settings import GatewaySettings
from shared.store import Store

__all__ = ["PATHS", "routes"]


def routes(
    hub: Hub, broker: GatewayBroker, store: Store | None, clock: Clock, settings: GatewaySettings
) -> list[Route]:
    """All of them. `message` is the client's own id, and may have slashes in it."""
    live, history = Live(hub, broker, store, settings), History(hub, store, clock)
    one = "/api/sessions/{id}"
    return [
        Route("/api/sessions", Resource(GET=history.list, POST=history.begin)),
        Route(one, Resource(GET=history.read, PATCH=history.rename, DELETE=history.delete)),
        Route(f"{one}/export", Resource(GET=history.export)),
        Route(f"{one}/events", Resource(GET=live.events)),
        Route(f"{one}/messages", Resource(POST=live.ask)),
        Route(f"{one}/messages/{{message:any}}/cancel", Resource(POST=live.cancel)),
    ]
