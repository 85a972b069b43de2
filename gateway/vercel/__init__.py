"""The Vercel AI SDK's chats, under /api/chat."""

from starlette.routing import Route

from gateway.hub import Hub
from gateway.resource import Resource
from gateway.vercel.chat import Chat
from gateway.vercel.description import PATHS
from shared.broker import GatewayBroker
from shared.settings import GatewaySettings

__all__ = ["PATHS", "routes"]


def routes(hub: Hub, broker: GatewayBroker, settings: GatewaySettings) -> list[Route]:
    """All of them; `id` is the client's own."""
    chat = Chat(hub, broker, settings)
    return [
        Route("/api/chat", Resource(POST=chat.ask)),
        Route("/api/chat/{id:any}/stream", Resource(GET=chat.resume)),
        Route("/api/chat/{id:any}/stop", Resource(POST=chat.stop)),
    ]
