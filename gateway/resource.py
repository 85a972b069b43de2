"""One path and its methods, as an endpoint: errors become responses in the endpoint's own form, none is a 500."""

from collections.abc import Awaitable, Callable

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.refusals import MethodNotAllowed, Refuse, refuse
from shared.errors import ChatError

Handler = Callable[[Request], Awaitable[ASGIApp]]  # a Response is an ASGI application


class Anything(Convertor[str]):
    """An id of the client's own, as `{name:any}` in a path: any characters, also those that `path` does not match."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor("any", Anything())


class Resource:
    """An ASGI application for `Route(path, Resource(GET=..., POST=...))`. Handlers may raise any ChatError."""

    def __init__(self, form: Refuse = refuse, **methods: Handler) -> None:
        self._refuse = form
        self._methods = dict(methods)
        if "GET" in methods:
            self._methods.setdefault("HEAD", methods["GET"])
        self._allow = ", ".join(self._methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        handler = self._methods.get(request.method)
        try:
            if handler is None:
                raise MethodNotAllowed
            return await handler(request)
        except ChatError as error:
            return self._refuse(error, {"allow": self._allow} if handler is None else None)
