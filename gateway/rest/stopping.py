"""Cancels that wait for what they bring about."""

import asyncio

from starlette.responses import Response

from gateway.hub import Hub
from gateway.rest.answers import answer
from gateway.rest.dialects import Ending
from gateway.rest.reading import Reading
from gateway.rest.shapes import Cancelling

PATIENCE = 5.0  # seconds for a terminal; the broker itself ends what runs within one


async def stop(hub: Hub, reading: Reading[Ending], id: str) -> Response:
    """Stop a reply of a session that is joined: 200 with its terminal, as every reader gets it; 202 where that is still
    to come. Raises UnknownId."""
    dialect = reading.dialect.follow(id)
    if dialect.frame is None:
        hub.stop(reading.connection, id)
    try:
        async with asyncio.timeout(PATIENCE):
            await reading.until(lambda: dialect.frame is not None)
    except TimeoutError:
        return answer(Cancelling(id), 202)
    return answer(dialect.frame)
