"""The interfaces in words for machines: /openapi.json and /asyncapi.json, generated from the message types."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.describe import health
from gateway.describe.asyncapi import asyncapi
from gateway.describe.openapi import openapi
from gateway.describe.operation import Paths
from gateway.resource import Handler, Resource

_HEADERS = {"cache-control": "no-cache"}


def routes(*paths: Paths, largest_message: int) -> list[Route]:
    """Both documents; `paths` are what each interface contributes to the first."""
    return [
        Route("/openapi.json", Resource(GET=_shown(lambda: openapi(health.PATHS, *paths)))),
        Route("/asyncapi.json", Resource(GET=_shown(lambda: asyncapi(largest_message)))),
    ]


def _shown(document: Callable[[], Mapping[str, Any]]) -> Handler:
    """Made when it is first wanted: most processes never are asked."""
    encoded = cache(lambda: msgspec.json.encode(document()))

    async def show(request: Request) -> Response:
        return Response(encoded(), 200, _HEADERS, "application/json")

    return show
