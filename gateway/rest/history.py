"""Sessions as they are stored: made, listed, read, renamed, deleted, exported."""

from contextlib import suppress

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.bodies import read_json
from gateway.caller import caller_of
from gateway.hub import Hub
from gateway.refusals import NoHistory
from gateway.rest.answers import answer, nothing
from gateway.rest.dialects import HttpDialect
from gateway.rest.export import markdown
from gateway.rest.live import events_address
from gateway.rest.queries import choice, encode_place, page_after, page_size
from gateway.rest.reading import Reading, resume
from gateway.rest.shapes import (
    Begun,
    Conversation,
    NewSession,
    Renaming,
    SessionList,
    conversation_of,
    head_of,
)
from shared.clock import Clock
from shared.errors import BrokerUnavailable, SessionNotFound
from shared.store import Store, StoredSession

FORMATS = ("json", "markdown")
_new_session = msgspec.json.Decoder(NewSession)
_renaming = msgspec.json.Decoder(Renaming)


class History:
    """The handlers. Without a store there is only what is live: sessions can be made and deleted."""

    def __init__(self, hub: Hub, store: Store | None, clock: Clock) -> None:
        self._hub = hub
        self._store = store
        self._clock = clock

    async def begin(self, request: Request) -> Response:
        """Make a session."""
        wanted = await read_json(request, _new_session, default=b"{}")
        reading = Reading(self._hub, HttpDialect(), request)
        with reading.closing():
            self._hub.begin(reading.connection, wanted.system, wanted.model)
            await reading.joined()
            session = reading.connection.session
            assert session is not None
            await self._keep(session.id, session.owner, wanted)
        address = f"/api/sessions/{session.id}"
        return answer(Begun(session.id, events_address(session.id)), 201, location=address)

    async def _keep(self, id: str, owner: str, wanted: NewSession) -> None:
        if self._store is not None:
            now = self._clock.wall_ms()
            await self._store.open(StoredSession(id, owner, wanted.title, wanted.system, wanted.model, now, now))
            if wanted.title:
                await self._store.rename(id, wanted.title)  # where it was known before, by its beginning

    async def list(self, request: Request) -> Response:
        """The caller's own, the newest first."""
        limit, after = page_size(request), page_after(request)
        page = await self._stored.sessions(caller_of(request.scope).owner, limit, after)
        return answer(SessionList([head_of(session) for session in page.sessions], encode_place(page.next)))

    async def read(self, request: Request) -> Response:
        """One, with its messages."""
        return answer(await self._conversation(request))

    async def rename(self, request: Request) -> Response:
        """Give it another title."""
        renaming = await read_json(request, _renaming)
        session = await self._own(request)
        await self._stored.rename(session.id, renaming.title)
        return answer(head_of(msgspec.structs.replace(session, title=renaming.title)))

    async def export(self, request: Request) -> Response:
        """To keep elsewhere."""
        form = choice(request, "format", FORMATS)
        conversation = await self._conversation(request)
        name = "".join(c for c in conversation.id if c.isascii() and (c.isalnum() or c in "-_")) or "session"
        suffix, kind = ("md", "text/markdown; charset=utf-8") if form == "markdown" else ("json", "application/json")
        content = markdown(conversation).encode() if form == "markdown" else msgspec.json.encode(conversation)
        headers = {"content-disposition": f'attachment; filename="{name}.{suffix}"', "cache-control": "no-store"}
        return Response(content, 200, headers, kind)

    async def delete(self, request: Request) -> Response:
        """For good: from the store, from the broker, from under its readers. Where the broker is away it hears of it
        when it is back."""
        id = request.path_params["id"]
        if not await self._delete_stored(request):
            reading = resume(self._hub, HttpDialect(), request, id)
            with reading.closing():
                await reading.joined()  # or it does not exist, for this caller
        with suppress(BrokerUnavailable):
            await self._hub.deletions.forget(id)
        return nothing()

    async def _delete_stored(self, request: Request) -> bool:
        """False: the store does not know it, or not as the caller's."""
        if self._store is None:
            return False
        try:
            session = await self._own(request)
            await self._store.delete(session.id)
        except SessionNotFound:
            return False
        return True

    async def _conversation(self, request: Request) -> Conversation:
        session = await self._own(request)
        history = self._hub.history
        assert history is not None  # as there is a store
        return conversation_of(session, await history.turns(session.id))

    async def _own(self, request: Request) -> StoredSession:
        session = await self._stored.session(request.path_params["id"])
        if session.owner != caller_of(request.scope).owner:
            raise SessionNotFound
        return session

    @property
    def _stored(self) -> Store:
        if self._store is None:
            raise NoHistory
        return self._store
