"""The endpoints below /v1/responses."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.caller import caller_of
from gateway.hub import Hub
from gateway.openai.api import answer, body_of
from gateway.openai.archive import Archive, Found
from gateway.openai.beginning import Beginning
from gateway.openai.begun import Begun
from gateway.openai.form import ReplyDialect, ReplyForm
from gateway.openai.problem import invalid, lost
from gateway.openai.response import Outcome, input_items, response_object
from gateway.openai.response_reply import ResponseStream, ResponseWhole
from gateway.openai.response_request import read_response
from gateway.refusals import Stopping
from gateway.streams import HEADERS, EventStream, Reader
from shared.broker import GatewayBroker
from shared.messages import Delta


class Responses:
    """All of them."""

    def __init__(self, hub: Hub, broker: GatewayBroker, archive: Archive, beginning: Beginning) -> None:
        self._hub = hub
        self._broker = broker
        self._archive = archive
        self._beginning = beginning

    async def create(self, request: Request) -> ASGIApp:
        """POST /v1/responses."""
        asked = read_response(await body_of(request))
        plan = await self._beginning.plan(asked, caller_of(request.scope).owner)
        begun = Begun(self._hub, self._beginning, plan, request)
        return await begun.streamed() if asked.stream else await begun.whole()

    async def retrieve(self, request: Request) -> ASGIApp:
        """GET /v1/responses/{id}."""
        stream, after = _flag(request, "stream"), _starting_after(request)
        found = await self._find(request)
        if stream:
            return await self._stream(request, found, -1 if after is None else after)
        if after is not None:
            raise invalid("This is for streams: send stream=true with it.", "starting_after")
        return answer(response_object(found.id, found.head, await self._archive.outcome(found)))

    async def cancel(self, request: Request) -> ASGIApp:
        """POST /v1/responses/{id}/cancel. Answers when the reply has ended."""
        found = await self._find(request)
        outcome = await self._archive.outcome(found)
        if found.recalled is not None and not found.recalled.ended:
            await self._broker.cancel(*found.id)
            outcome = await self._end_of(request, found)
        return answer(response_object(found.id, found.head, outcome))

    async def delete(self, request: Request) -> ASGIApp:
        """DELETE /v1/responses/{id}."""
        found = await self._find(request)
        if found.recalled is not None and not found.recalled.ended:
            await self._broker.cancel(*found.id)
        await self._archive.delete(found)
        return answer({"id": str(found.id), "object": "response", "deleted": True})

    async def input_items(self, request: Request) -> ASGIApp:
        """GET /v1/responses/{id}/input_items."""
        found = await self._find(request)
        return answer(input_items(found.id, found.head))

    async def _find(self, request: Request) -> Found:
        return await self._archive.find(request.path_params["id"], caller_of(request.scope).owner)

    async def _stream(self, request: Request, found: Found, after: int) -> ASGIApp:
        if found.recalled is None:
            return _from_store(found, after)
        form = ResponseStream(found.id, found.head, after=after)
        reader = self._follow(request, found, form)
        return EventStream(reader, b"".join(form.accepted()))

    def _follow(self, request: Request, found: Found, form: ReplyForm) -> Reader:
        """From its first event on, and then live."""
        assert found.recalled is not None
        reader = Reader(self._hub, ReplyDialect(found.id.message, form), request)
        self._hub.resume(reader.connection, found.id.session, found.recalled.before)
        return reader

    async def _end_of(self, request: Request, found: Found) -> Outcome:
        form = ResponseWhole()
        reader = self._follow(request, found, form)
        try:
            await reader.take()
        finally:
            reader.close()
        if self._hub.stopping and form.outcome.status in ("queued", "in_progress"):
            raise Stopping
        return form.outcome


def _from_store(found: Found, after: int) -> Response:
    """The store knows the text, but not in which pieces it came."""
    if after >= 0:
        sentence = "The events of this response are not kept any more; retrieve it without starting_after."
        raise invalid(sentence, "starting_after", "events_expired")
    turn, form = found.stored, ResponseStream(found.id, found.head)
    if turn is None or turn.answer is None:
        frames = [*form.accepted(), *form.fail(lost())]
    else:
        pieces = [Delta(turn.answer.text)] if turn.answer.text else []
        frames = [frame for event in (*pieces, turn.answer.end) for frame in form.event(event)]
    return Response(b"".join(frames), headers=HEADERS)


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false").lower()
    if given not in ("true", "false"):
        raise invalid("This is true or false.", name)
    return given == "true"


def _starting_after(request: Request) -> int | None:
    given = request.query_params.get("starting_after")
    if given is not None and not (given.isascii() and given.isdecimal() and len(given) < 16):
        raise invalid("This is the sequence_number of the last event that you have.", "starting_after")
    return None if given is None else int(given)
