"""What a caller shows: a bearer in the `Authorization` header (RFC 6750), or, where a browser cannot send one, a
subprotocol. Never anything in a URL, which is logged and shown everywhere."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.types import Scope

from shared.errors import NotAuthenticated

KEY = "llm-chat.key."
TICKET = "llm-chat.ticket."
LONGEST = 8_192  # characters
_SUBPROTOCOLS = b"sec-websocket-protocol"
Headers = Iterable[tuple[bytes, bytes]]


class Credentials(NamedTuple):
    """At most one of the two."""

    bearer: str | None = None
    ticket: str | None = None


NONE = Credentials()


def shown(scope: Scope) -> Credentials:
    """What is shown with a request or an upgrade. Raises NotAuthenticated where it is too much."""
    names = scope.get("subprotocols", ())
    found = [
        *(Credentials(bearer=text) for text in _bearers(scope["headers"])),
        *(Credentials(bearer=name.removeprefix(KEY)) for name in names if name.startswith(KEY)),
        *(Credentials(ticket=name.removeprefix(TICKET)) for name in names if name.startswith(TICKET)),
    ]
    if len(found) > 1:
        raise NotAuthenticated("Show one key, token or ticket, not several.")
    if any(len(text) > LONGEST for credentials in found for text in credentials if text is not None):
        raise NotAuthenticated("The key or token is too long.")
    return found[0] if found else NONE


def hidden(scope: Scope) -> Scope:
    """The same scope without any of them: whoever comes behind has none to log or to echo. Of a subprotocol its kind
    remains: it was asked for."""
    kept: dict[str, Any] = {**scope, "headers": list(_without(scope["headers"]))}
    if "subprotocols" in scope:
        kept["subprotocols"] = [_kind(name) for name in scope["subprotocols"]]
    return kept


def _bearers(headers: Headers) -> Iterable[str]:
    for name, value in headers:
        scheme, _, text = value.decode("latin-1").partition(" ")
        if name == b"authorization" and scheme.lower() == "bearer":
            yield text.strip()


def _without(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == _SUBPROTOCOLS:
            names = [part.strip() for part in value.decode("latin-1").split(",")]
            yield name, ", ".join(map(_kind, names)).encode("latin-1")
        elif name != b"authorization":
            yield name, value


def _kind(subprotocol: str) -> str:
    found = next((kind for kind in (KEY, TICKET) if subprotocol.startswith(kind)), None)
    return subprotocol if found is None else found.rstrip(".")
