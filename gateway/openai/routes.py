"""Every address of /v1."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from gateway.hub import Hub
from gateway.openai.api import Endpoint, answer, no_such_socket, nothing_here
from gateway.openai.archive import Archive
from gateway.openai.beginning import Beginning
from gateway.openai.chat import Chat
from gateway.openai.models import Models
from gateway.openai.responses import Responses
from gateway.openai.socket import ResponsesSocket
from gateway.resource import Handler
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.settings import Settings
from shared.store import Store


def routes(settings: Settings, hub: Hub, broker: GatewayBroker, clock: Clock, store: Store | None) -> list[BaseRoute]:
    """OpenAI's chat completions, models and responses."""
    models = Models.of(settings, clock.wall_ms() // 1000)
    archive = Archive(hub, broker, store)
    beginning = Beginning(hub, clock, models, archive, keeps=store is not None)
    chat = Chat(hub, clock, models)
    responses = Responses(hub, broker, archive, beginning)

    async def all_models(request: Request) -> ASGIApp:
        return answer(models.all())

    async def one_model(request: Request) -> ASGIApp:
        return answer(models.one(request.path_params["id"]))

    def route(path: str, **methods: Handler) -> Route:
        return Route(f"/v1{path}", Endpoint(hub, **methods))

    socket = ResponsesSocket(hub, clock, beginning, settings.gateway.origins)
    return [
        WebSocketRoute("/v1/responses", socket),
        WebSocketRoute("/v1/{path:any}", no_such_socket),
        route("/chat/completions", POST=chat.create),
        route("/models", GET=all_models),
        route("/models/{id:any}", GET=one_model),
        route("/responses", POST=responses.create),
        route("/responses/{id}", GET=responses.retrieve, DELETE=responses.delete),
        route("/responses/{id}/cancel", POST=responses.cancel),
        route("/responses/{id}/input_items", GET=responses.input_items),
        *_elsewhere(hub),
    ]


def _elsewhere(hub: Hub) -> Sequence[BaseRoute]:
    methods = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), nothing_here)
    return [Route(path, Endpoint(hub, **methods)) for path in ("/v1", "/v1/{path:any}")]
