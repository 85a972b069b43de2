"""What needs no history: messages, their cancels, and the stream of a session's events."""

from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.bodies import read_json
from gateway.dialect import Ask
from gateway.hub import Hub
from gateway.protocol import params_of, terminal_frame
from gateway.refusals import MessageTooLarge, NoWorker
from gateway.rest.answers import answer
from gateway.rest.dialects import Acceptance, Ending, HttpDialect, ReplyEvents, SessionEvents, later
from gateway.rest.queries import resume_after, switch
from gateway.rest.reading import Reading, resume
from gateway.rest.shapes import MessageAccepted, NewMessage
from gateway.rest.stopping import stop
from gateway.streams import HEADERS, EventStream
from shared.broker import GatewayBroker
from shared.errors import Busy, ChatError, UnknownId
from shared.settings import GatewaySettings
from shared.store import Store

EVENTS = "text/event-stream"  # what an EventSource accepts, and nothing else
_decoder = msgspec.json.Decoder(NewMessage)


def events_address(session: str, after: object = None) -> str:
    """Where to follow a session."""
    return f"/api/sessions/{quote(session, safe='')}/events" + (f"?after={after}" if after else "")


class Live:
    """The handlers. Another owner's session is one that does not exist."""

    def __init__(self, hub: Hub, broker: GatewayBroker, store: Store | None, settings: GatewaySettings) -> None:
        self._hub = hub
        self._broker = broker
        self._store = store
        self._largest = settings.max_message_bytes
        self._patience = settings.send_timeout

    async def events(self, request: Request) -> ASGIApp:
        """Everything behind the cursor, then live."""
        try:
            reading = resume(self._hub, SessionEvents(), request, request.path_params["id"], resume_after(request))
            with reading.unless_failed():
                return self._stream(reading, await reading.joined())
        except ChatError as error:
            if not error.retryable or request.headers.get("accept") != EVENTS:
                raise
            return Response(later(error), headers=HEADERS)

    async def ask(self, request: Request) -> ASGIApp:
        """A message: accepted, or with `stream=true` its whole reply as it comes."""
        stream, wait = switch(request, "stream", False), switch(request, "wait", True)
        message = await read_json(request, _decoder)
        if len(message.content.encode()) > self._largest:
            raise MessageTooLarge(f"A message may have {self._largest:,} bytes.")
        ask = Ask(message.id, message.content, message.model, params_of(message.params))
        return await (self._ask_and_stream if stream else self._ask)(request, ask, wait)

    async def _ask(self, request: Request, ask: Ask, wait: bool) -> Response:
        session, address = request.path_params["id"], ""

        def accepted() -> None:
            nonlocal address
            address = events_address(session, _before(reading, ask.id))

        reading = resume(self._hub, Acceptance(accepted), request, session)
        with reading.closing():
            await self._send(reading, ask, wait)
            await reading.until(lambda: reading.dialect.place is not None)
        return answer(MessageAccepted(session, ask.id, reading.dialect.place or 0, address), 202)

    async def _ask_and_stream(self, request: Request, ask: Ask, wait: bool) -> ASGIApp:
        reading = resume(self._hub, ReplyEvents(ask.id), request, request.path_params["id"])
        with reading.unless_failed():
            said = await self._send(reading, ask, wait)
            return self._stream(reading, said + await reading.until(lambda: reading.dialect.settled))

    async def _send(self, reading: Reading[HttpDialect], ask: Ask, wait: bool) -> bytes:
        said = await reading.joined()
        if not wait and ask.id not in (reading.dialect.open or ()):
            await self._check_room(reading)
        self._hub.ask(reading.connection, ask)
        return said

    async def _check_room(self, reading: Reading[HttpDialect]) -> None:
        """For a client that does not want to wait. Raises Busy or NoWorker."""
        if reading.dialect.open:
            raise Busy
        stats = await self._broker.stats()
        if not stats.workers or stats.queued:
            raise NoWorker

    def _stream(self, reading: Reading[HttpDialect], first: bytes) -> EventStream:
        return EventStream(reading.reader, first, patience=self._patience)

    async def cancel(self, request: Request) -> Response:
        """Stop a reply and wait for its end: the terminal, as every reader of the session gets it."""
        session, id = request.path_params["id"], request.path_params["message"]
        reading = resume(self._hub, Ending(), request, session)
        with reading.closing():
            await reading.joined()
            try:
                return await stop(self._hub, reading, id)
            except UnknownId:
                return answer(await self._ended_long_ago(session, id))

    async def _ended_long_ago(self, session: str, id: str) -> bytes:
        """The terminal of a reply that only the store knows. Raises UnknownId."""
        turn = None if self._store is None else await self._store.turn(session, id)
        if turn is None or turn.answer is None:
            raise UnknownId
        return terminal_frame(id, turn.answer.cursor, turn.answer.end)


def _before(reading: Reading[HttpDialect], id: str) -> object:
    """The last event before a reply that was just accepted; None where it may have begun already."""
    session, outbox = reading.connection.session, reading.connection.outbox
    return outbox.after if session is not None and session.waits(id) and outbox.live else None
