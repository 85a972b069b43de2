"""What to do with a session in which something is stored that cannot be read."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from shared.brokers.redis.calls import readable

log = structlog.get_logger("broker link")


async def mend(call: Callable[..., Awaitable[Any]], session: str) -> bool:
    """Put it aside, into the dead letters. Returns whether there was such a thing."""
    stored: list[tuple[str, bytes]] = await call("raw", (session,), lasting=True)
    spoilt = [id for id, item in stored if readable(item) is None]
    if spoilt:
        log.error("items of a session cannot be read; they are among the dead letters now", items=len(spoilt))
    for id in spoilt:
        await call("mend", (session, id), lasting=True)
    return bool(spoilt)
