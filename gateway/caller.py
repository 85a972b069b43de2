"""Who is calling. Authentication puts it into the ASGI scope; without it everybody is the same nobody."""

from collections.abc import Mapping
from typing import Any, NamedTuple

CALLER = "llm_chat.caller"


class Caller(NamedTuple):
    """`owner` is what sessions belong to; `expires_at`: wall seconds after which it is nobody's word any more; `key`:
    the id of the API key by which it came, directly or by a ticket, empty where it was none."""

    owner: str = ""
    expires_at: float | None = None
    key: str = ""


NOBODY = Caller()


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller of an HTTP request or a WebSocket."""
    caller: Caller = scope.get(CALLER, NOBODY)
    return caller
