"""The AI SDK's `useChat` as a client: POST /api/chat, its resume and its Stop."""

import hashlib
import secrets
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.bodies import read_json
from gateway.caller import caller_of
from gateway.dialect import Ask
from gateway.hub import Hub
from gateway.protocol import Name
from gateway.refusals import MessageTooLarge
from gateway.rest.answers import nothing
from gateway.rest.dialects import Ending
from gateway.rest.reading import LONGEST_ID, Reading, resume
from gateway.rest.stopping import stop
from gateway.streams import EventStream
from gateway.vercel.parts import HEADERS, UiMessage
from shared.broker import GatewayBroker
from shared.errors import InvalidMessage, SessionNotFound, UnknownId
from shared.messages import Cursor, Flag, Item
from shared.request import Turn
from shared.settings import GatewaySettings

EVERYTHING = 64 << 20  # bytes; the broker keeps less of a session
ChatId = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class UiPart(msgspec.Struct):
    """Of a message. Only those of type `text` are read."""

    type: str
    text: str = ""


class UiMessageIn(msgspec.Struct):
    """A message, as the AI SDK holds it."""

    role: Literal["system", "user", "assistant"]
    parts: list[UiPart]
    id: str = ""


class UiRequest(msgspec.Struct, rename="camel"):
    """`messages` is the whole conversation; its last message is the user's. `message_id`: that is sent again, edited or
    for another reply."""

    id: ChatId
    messages: Annotated[list[UiMessageIn], msgspec.Meta(min_length=1)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: str | None = None
    model: Name | None = None


_decoder = msgspec.json.Decoder(UiRequest)


def session_of(owner: str, chat: str) -> str:
    """The session of a chat. Two owners' chats never meet, whatever ids they choose."""
    return "v_" + hashlib.sha256(msgspec.json.encode([owner, chat])).hexdigest()[:32]


class Chat:
    """The handlers."""

    def __init__(self, hub: Hub, broker: GatewayBroker, settings: GatewaySettings) -> None:
        self._hub = hub
        self._broker = broker
        self._largest = settings.max_message_bytes
        self._patience = settings.send_timeout

    async def ask(self, request: Request) -> ASGIApp:
        """Answer the last message. The reply goes on without its reader, and can be resumed."""
        wanted = await read_json(request, _decoder)
        ask = ask_of(wanted)
        if len(ask.content.encode()) > self._largest:
            raise MessageTooLarge(f"A message may have {self._largest:,} bytes.")
        owner = caller_of(request.scope).owner
        session = session_of(owner, wanted.id)
        self._broker.open(session, owner, None, None)
        reading = resume(self._hub, UiMessage(ask.id), request, session)
        with reading.unless_failed():
            said = await reading.joined()
            self._hub.ask(reading.connection, ask)
            return self._stream(reading, said + await reading.until(lambda: reading.dialect.settled))

    async def resume(self, request: Request) -> ASGIApp:
        """The reply that is under way, from its beginning; 204 where there is none."""
        session = self._session(request)
        try:
            page = await self._broker.read(session, None, EVERYTHING)
            reading = resume(self._hub, UiMessage(None), request, session, before_the_last(page.items))
            with reading.unless_failed():
                said = await reading.joined()
                if reading.dialect.settled:
                    return self._stream(reading, said)
                reading.reader.close()
        except SessionNotFound:
            pass
        return nothing()

    async def stop(self, request: Request) -> Response:
        """Cancel the reply that is under way, and wait for its end; 204 where there is none."""
        try:
            reading = resume(self._hub, Ending(), request, self._session(request))
            with reading.closing():
                await reading.joined()
                if not reading.dialect.open:
                    return nothing()
                return await stop(self._hub, reading, reading.dialect.open[0])
        except (SessionNotFound, UnknownId):  # it has never been, or is lost
            return nothing()

    def _session(self, request: Request) -> str:
        return session_of(caller_of(request.scope).owner, request.path_params["id"])

    def _stream(self, reading: Reading[UiMessage], first: bytes) -> EventStream:
        return EventStream(reading.reader, first.lstrip(), HEADERS, patience=self._patience)


def before_the_last(items: Sequence[Item]) -> Cursor | None:
    """The last event before the newest reply, or before that part of it which stands where it was begun anew: what is
    void cannot be taken back, so it must not be sent. None: there is none."""
    found = None
    for before, item in pairwise(items):
        if item.generation != before.generation or item.flags & Flag.RESTART:
            found = before.cursor
    return found


def ask_of(wanted: UiRequest) -> Ask:
    """The message as it is submitted, under the client's own id: an answer that was lost is asked for again with it.
    Raises InvalidMessage."""
    *earlier, last = wanted.messages
    if last.role != "user":
        raise InvalidMessage("The last message is not the user's - at `$.messages`.")
    if any(part.type == "file" for part in last.parts):
        raise InvalidMessage("Only text is understood, no files - at `$.messages`.")
    content = _text(last)
    if not content:
        raise InvalidMessage("The last message has no text - at `$.messages`.")
    context = tuple(Turn(message.role, _text(message)) for message in earlier if _text(message))
    return Ask(_id(wanted, last.id), content, wanted.model, context=context)


def _id(wanted: UiRequest, id: str) -> str:
    """Another reply to the same message needs another id."""
    if len(id) > LONGEST_ID - 10:
        id = hashlib.sha256(id.encode()).hexdigest()
    again = wanted.trigger == "regenerate-message" or wanted.message_id is not None
    return f"{id}~{secrets.token_hex(4)}" if again or not id else id


def _text(message: UiMessageIn) -> str:
    return "".join(part.text for part in message.parts if part.type == "text")
