"""Answers as responses."""

from typing import Any

import msgspec
from starlette.responses import Response

_NEVER_CACHED = {"cache-control": "no-store"}


def answer(body: Any, status: int = 200, **headers: str) -> Response:
    """A struct, or JSON that is encoded already."""
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(encoded, status, _NEVER_CACHED | headers, "application/json")


def nothing() -> Response:
    """204."""
    return Response(None, 204, _NEVER_CACHED)
