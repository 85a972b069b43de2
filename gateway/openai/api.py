"""What all of /v1 has in common: OpenAI's errors, whatever goes wrong, and a request id on each answer."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.bodies import is_json, read_body
from gateway.hub import Hub
from gateway.openai.problem import Problem, problem_of
from gateway.refusals import NotFound, Stopping, UnsupportedMediaType
from gateway.resource import Handler, Resource
from shared.errors import ChatError

REQUEST_ID = "x-request-id"
log = structlog.get_logger("gateway")


def answer(body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """200 with a JSON body, given as an object or as its bytes."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(data, 200, dict(headers or {}), "application/json")


def refuse(error: ChatError, headers: Mapping[str, str] | None = None) -> Response:
    """See gateway.refusals.Refuse."""
    return problem_response(problem_of(error), headers)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """An error answer."""
    body = msgspec.json.encode(problem.body())
    return Response(body, problem.status, {**problem.headers(), **(headers or {})}, "application/json")


async def body_of(request: Request) -> bytes:
    """The JSON body, unread. Raises UnsupportedMediaType and MessageTooLarge."""
    data = await read_body(request)
    if not is_json(request.headers.get("content-type", "")):
        raise UnsupportedMediaType
    return data


class Endpoint:
    """An ASGI application for one path of /v1: a handler for each method."""

    def __init__(self, hub: Hub, **methods: Handler) -> None:
        self._hub = hub
        self._resource = Resource(refuse, **methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        stamped = _Stamp(send)
        app: ASGIApp = refuse(Stopping()) if self._hub.stopping else self._resource
        try:
            await app(scope, receive, stamped)
        except Exception:
            if stamped.started:
                raise
            log.exception("a request to /v1 failed", request=stamped.id)
            await refuse(ChatError())(scope, receive, stamped)


class _Stamp:
    """ASGI's `send`, with a request id in the headers."""

    def __init__(self, send: Send) -> None:
        self.id = f"req_{secrets.token_hex(12)}"
        self.started = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            MutableHeaders(scope=message)[REQUEST_ID] = self.id
        await self._send(message)


async def no_such_socket(websocket: WebSocket) -> None:
    """A WebSocket to any other path of /v1."""
    sentence = "There is no WebSocket here; the address is /v1/responses."
    await websocket.send_denial_response(refuse(NotFound(sentence)))


async def nothing_here(request: Request) -> Response:
    """Any other path of /v1."""
    return refuse(NotFound(f"There is nothing at {request.url.path[:128]}."))
