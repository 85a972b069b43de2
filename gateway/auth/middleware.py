"""Before every route: who is calling?"""

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.auth import credentials
from gateway.auth.answers import refusal
from gateway.auth.gate import Gate
from gateway.caller import CALLER
from shared.errors import ChatError

OPEN_PATHS = frozenset({"/", "/livez", "/readyz"})
OPEN_BELOW = ("/static/",)


class Authentication:
    """Puts the caller into the scope, if there is a gate to know it, and takes out of it what was shown. Who is not let
    in is answered at once: 401, also where it was to be a WebSocket."""

    def __init__(self, app: ASGIApp, gate: Gate | None) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._gate is None or _is_open(scope):
            await self._app(credentials.hidden(scope), receive, send)
        else:
            await self._admit(self._gate, scope, receive, send)

    async def _admit(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        shown = credentials.NONE
        try:
            shown = credentials.shown(scope)
            caller = await gate.admit(shown)
        except ChatError as error:
            await refusal(scope["path"], error, shown=any(shown))(scope, receive, send)
        else:
            await self._app({**credentials.hidden(scope), CALLER: caller}, receive, send)


def _is_open(scope: Scope) -> bool:
    path = scope["path"]
    return scope["type"] == "http" and (path in OPEN_PATHS or path.startswith(OPEN_BELOW))
