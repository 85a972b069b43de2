"""Requests by web pages of other origins: a browser lets any page send them, though it does not let it read the answer.

What only reads needs no more than that. What changes something is refused, unless the page's origin is listed.
"""

from collections.abc import Collection, Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import openai, origin
from gateway.refusals import OriginNotAllowed, refuse

READING = {"GET", "HEAD", "OPTIONS"}
EXPOSED = ("location", "retry-after", "x-request-id", "x-vercel-ai-ui-message-stream")  # to scripts of listed pages


def middleware(origins: Sequence[str]) -> list[Middleware]:
    """The check, and CORS (fetch.spec.whatwg.org) for the pages that are listed."""
    check = Middleware(OwnPages, origins)
    if not origins:
        return [check]
    cors = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED
    )
    return [cors, check]


class OwnPages:
    """ASGI middleware for HTTP; the WebSocket's endpoint looks by itself."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 403."""
        if scope["type"] != "http" or scope["method"] in READING or origin.allowed(scope["headers"], self._origins):
            await self._app(scope, receive, send)
        else:
            form = openai.refuse if scope["path"].startswith("/v1/") else refuse
            await form(OriginNotAllowed(), None)(scope, receive, send)
