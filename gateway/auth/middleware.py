"""Before every route: who is calling?"""

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.auth import credentials
from gateway.auth.answers import refusal
from gateway.auth.gate import Gate
from gateway.caller import CALLER, NOBODY, Caller
from shared.errors import ChatError

OPEN_PATHS = frozenset({"/", "/livez", "/readyz"})
OPEN_BELOW = ("/static/",)


class Authentication:
    """Puts the caller into the scope, and takes out of it what was shown. Who is not let in is answered at once: 401,
    also where it was to be a WebSocket."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        shown = credentials.NONE
        try:
            if _is_open(scope):
                caller = NOBODY
            else:
                shown = credentials.shown(scope)
                caller = await self._gate.admit(shown)
        except ChatError as error:
            await refusal(scope["path"], error, shown=any(shown))(scope, receive, send)
        else:
            await self._app(_with_caller(scope, caller), receive, send)


def _with_caller(scope: Scope, caller: Caller) -> Scope:
    return {**credentials.hidden(scope), CALLER: caller}


def _is_open(scope: Scope) -> bool:
    path = scope["path"]
    return scope["type"] == "http" and (path in OPEN_PATHS or path.startswith(OPEN_BELOW))
