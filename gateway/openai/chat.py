"""POST /v1/chat/completions. Each request is a session of its own: its messages are the whole context."""

import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.dialect import Ask
from gateway.hub import Hub
from gateway.openai.api import answer, body_of
from gateway.openai.chat_reply import ChatStream, ChatWhole, Identity
from gateway.openai.chat_request import ChatRequest, read_chat
from gateway.openai.form import ReplyDialect
from gateway.openai.models import Models
from gateway.openai.problem import Refused
from gateway.openai.replying import CLIENT_GONE, MESSAGE, SESSION, Closing, first_payload
from gateway.openai.turns import split
from gateway.streams import EventStream, Reader
from shared.clock import Clock


class Chat:
    """The endpoint."""

    def __init__(self, hub: Hub, clock: Clock, models: Models) -> None:
        self._hub = hub
        self._clock = clock
        self._models = models

    async def create(self, request: Request) -> ASGIApp:
        """Ask, and answer as it was asked for. Raises ChatErrors for the endpoint to render."""
        asked = read_chat(await body_of(request))
        shown, model = self._models.resolve(asked.model)
        id = f"chatcmpl-{secrets.token_hex(12)}"
        identity = Identity(id, self._clock.wall_ms() // 1000, shown)
        form = ChatStream(identity, include_usage=asked.include_usage) if asked.stream else ChatWhole(identity)
        exchange = Exchange(self._hub, request, id, form, asked)
        try:
            exchange.begin(model)
        except BaseException:
            exchange.end()
            raise
        return await exchange.streamed(form) if isinstance(form, ChatStream) else await exchange.whole(form)


class Exchange:
    """One message and its reply. Unless it is in the background nothing of it is left at the end, however it ends: also
    where its client goes away."""

    def __init__(
        self,
        hub: Hub,
        request: Request,
        id: str,
        form: ChatStream | ChatWhole,
        asked: ChatRequest,
    ) -> None:
        self._hub = hub
        self._id = id
        self._asked = asked
        self._reader = Reader(hub, ReplyDialect(id, form), request)
        self._session = ""

    def begin(self, model: str | None) -> None:
        """Begin a session and ask."""
        asked, connection = self._asked, self._reader.connection
        self._hub.begin(connection, None, None, stored=asked.background)
        self._session = connection.session.id if connection.session is not None else ""
        content, context = split(asked.turns)
        self._hub.ask(connection, Ask(self._id, content, model, asked.params, context, stored=asked.background))

    async def whole(self, form: ChatWhole) -> Response:
        """The reply when it is there. Raises Refused where there is none."""
        try:
            body = await self._reader.take()
        finally:
            self.end()
        if form.problem is not None:
            raise Refused(form.problem)
        return Response(status_code=CLIENT_GONE) if body is None else answer(body, self._headers())

    async def streamed(self, form: ChatStream) -> ASGIApp:
        """The reply as it comes. A failure before the first piece of text is a status, unless that takes so long that
        the client must hear something first."""
        try:
            first = await first_payload(self._reader)
        except BaseException:
            self.end()
            raise
        if form.problem is not None and not form.begun:
            self.end()
            raise Refused(form.problem)
        return Closing(EventStream(self._reader, first, self._headers()), self.end)

    def end(self) -> None:
        """Leave, and leave nothing; may be called again."""
        self._reader.close()
        if not self._asked.background and self._session:
            self._hub.deletions.forget(self._session)  # which also stops what still runs

    def _headers(self) -> dict[str, str]:
        """What goes on without its client can be followed under these names."""
        return {SESSION: self._session, MESSAGE: self._id} if self._asked.background else {}
