"""What all answers that carry a reply have in common."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.streams import PING, PING_SECONDS, Reader

CLIENT_GONE = 499  # a status that nobody reads
SESSION = "x-llm-chat-session"  # by these a reply can be followed on the service's other interfaces
MESSAGE = "x-llm-chat-message"


async def first_payload(reader: Reader) -> bytes:
    """What is to be sent first: a ping, where nothing comes for so long that the client must hear something. Nothing,
    where the client has gone."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(reader.take(), PING_SECONDS) or b""
    return PING


class Closing:
    """An ASGI response, and what is to be done behind it, however it ends."""

    def __init__(self, app: ASGIApp, end: Callable[[], None]) -> None:
        self._app = app
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self._end()
