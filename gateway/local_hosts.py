"""Where nobody is asked for a key, because only this machine can come in: by what names it comes.

A page of any site can have its own name lead to this machine's loopback address (DNS rebinding). To a browser that page
is then of our own origin, and may read everything. Its requests still bear that name as their host.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import openai, origin
from gateway.refusals import OriginNotAllowed, refuse

SENTENCE = "While no keys are asked for, this service answers to localhost only; LLM_CHAT_AUTH_MODE changes that."


class LocalHosts:
    """ASGI middleware: requests for hosts that are not this machine, nor those of the `origins`, are answered 403."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._names = {name for name in map(origin.host_in, origins) if name is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket") or self._is_ours(scope["headers"]):
            await self._app(scope, receive, send)
        else:
            form = openai.refuse if scope["path"].startswith("/v1/") else refuse
            await form(OriginNotAllowed(SENTENCE), None)(scope, receive, send)

    def _is_ours(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        hosts = [origin.host_of(value.decode("latin-1")) for name, value in headers if name == b"host"]
        return all(host is not None and (_is_local(host) or host in self._names) for host in hosts)


def _is_local(host: str) -> bool:
    """An address needs no resolving, so nobody can have made it lead here (RFC 6761, 6.3, for the names)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
