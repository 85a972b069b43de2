from collections.abc import AsyncIterator

import pytest

from tests.gateway.rest.sse import EventReader


@pytest.fixture(autouse=True)
async def readers_closed(no_tasks_left: None) -> AsyncIterator[None]:
    """Before the look for tasks that were left."""
    yield
    await EventReader.close_all()
