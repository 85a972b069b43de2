"""Sessions that the broker does not know any more, and the store does: they go on as conversations."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.connection import Connection
from gateway.live import LiveSession
from gateway.submitting import Keeping, catch_up
from shared.answer import then
from shared.broker import GatewayBroker
from shared.errors import ChatError, SessionNotFound
from shared.messages import Cursor
from shared.store import StoredSession, StoredTurn

if TYPE_CHECKING:
    from gateway.hub import Hub


class Reviving:
    """Those under way."""

    def __init__(self, hub: "Hub", broker: GatewayBroker, keeping: Keeping | None) -> None:
        self._hub = hub
        self._broker = broker
        self._keeping = keeping
        self._tasks: set[asyncio.Future[Any]] = set()

    def revive(self, connection: Connection, session: LiveSession, after: Cursor | None, error: ChatError) -> None:
        """The broker could not be joined: if it is for want of the session, look into the store."""
        if self._keeping is None or not isinstance(error, SessionNotFound):
            self._hub.not_joined(connection, session, error)
            return
        task = asyncio.ensure_future(self._find(self._keeping, session.id, connection.caller.owner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        found = partial(self._found, self._keeping, connection, session, after)
        then(task, found, partial(self._hub.not_joined, connection, session))

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _find(self, keeping: Keeping, id: str, owner: str) -> tuple[StoredSession, list[StoredTurn]]:
        stored = await keeping.store.session(id)
        if stored.owner != owner:  # another's session is one that does not exist
            raise SessionNotFound
        return stored, await keeping.store.turns(id)

    def _found(
        self,
        keeping: Keeping,
        connection: Connection,
        session: LiveSession,
        after: Cursor | None,
        found: tuple[StoredSession, list[StoredTurn]],
    ) -> None:
        """The broker's new generations go on above the last one that is stored."""
        stored, turns = found
        if session.conversation is not None:
            catch_up(session, session.conversation, turns)
        self._broker.open(stored.id, stored.owner, stored.system, stored.model, session.generation)
        self._hub.join_revived(connection, session, after)
