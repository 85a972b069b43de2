"""Requests as readers of sessions: joining, and waiting for what they are there for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from starlette.requests import Request

from gateway.hub import Hub
from gateway.refusals import Stopping
from gateway.rest.dialects import HttpDialect
from gateway.streams import Reader
from shared.errors import SessionNotFound
from shared.messages import Cursor

D = TypeVar("D", bound=HttpDialect)
D_co = TypeVar("D_co", bound=HttpDialect, covariant=True)
LONGEST_ID = 256


class Reading(Generic[D_co]):
    """A reader with its dialect. Close it, unless an EventStream does."""

    def __init__(self, hub: Hub, dialect: D_co, request: Request) -> None:
        """Raises Stopping where the process lets nobody in any more."""
        if hub.stopping:
            raise Stopping
        self.dialect = dialect
        self.reader = Reader(hub, dialect, request)
        self.connection = self.reader.connection

    async def until(self, ready: Callable[[], bool]) -> bytes:
        """Wait; returns what has come meanwhile. Raises the dialect's error where it ends before."""
        said = b""
        while not ready():
            chunk = await self.reader.take()
            if chunk is None:
                raise self.dialect.error or Stopping()
            said += chunk
        return said

    async def joined(self) -> bytes:
        """Wait until the session is there. Raises SessionNotFound or BrokerUnavailable."""
        return await self.until(lambda: self.dialect.open is not None)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close at the end, in any case."""
        try:
            yield
        finally:
            self.reader.close()

    @contextmanager
    def unless_failed(self) -> Iterator[None]:
        """Close where the block fails; else a response is to go on with the reader."""
        try:
            yield
        except BaseException:
            self.reader.close()
            raise


def resume(hub: Hub, dialect: D, request: Request, session: str, after: Cursor | None = None) -> Reading[D]:
    """Begin to join a session that exists. Raises SessionNotFound where its name cannot be one."""
    if not 0 < len(session) <= LONGEST_ID:
        raise SessionNotFound
    reading = Reading(hub, dialect, request)
    hub.resume(reading.connection, session, after)
    return reading
