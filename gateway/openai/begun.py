"""A response that a request has begun, until that request is answered."""

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.hub import Hub
from gateway.openai.api import answer
from gateway.openai.beginning import Beginning, Plan
from gateway.openai.form import ReplyDialect, ReplyForm
from gateway.openai.problem import Refused
from gateway.openai.replying import CLIENT_GONE, MESSAGE, SESSION, Closing, first_payload
from gateway.openai.response import response_object
from gateway.openai.response_id import ResponseId
from gateway.openai.response_reply import ResponseStream, ResponseWhole
from gateway.streams import EventStream, Reader

F = TypeVar("F", bound=ReplyForm)


class Begun:
    """If its client goes away the reply is stopped, unless it is in the background or it is this gateway that goes.
    What is not to be stored is forgotten at its end."""

    def __init__(self, hub: Hub, beginning: Beginning, plan: Plan, request: Request) -> None:
        self._hub = hub
        self._beginning = beginning
        self._plan = plan
        self._request = request
        self._reader: Reader | None = None
        self._id = ResponseId("", "")

    async def whole(self) -> Response:
        """The response when it has ended; one in the background as soon as it is accepted. Raises Refused."""
        head = self._plan.head
        try:
            reader, form = self._place(lambda id: ResponseWhole(accepted_is_all=head.background))
            await reader.take()
        finally:
            self.end()
        problem = form.problem or form.outcome.error
        if problem is not None:
            raise Refused(problem)
        if reader.gone:
            return Response(status_code=CLIENT_GONE)
        return answer(response_object(self._id, head, form.outcome), self._headers())

    async def streamed(self) -> ASGIApp:
        """Its events as they come. Raises Refused where it was not even accepted."""
        try:
            reader, form = self._place(lambda id: ResponseStream(id, self._plan.head))
            first = await first_payload(reader)
        except BaseException:
            self.end()
            raise
        if form.problem is not None and not form.begun:
            self.end()
            raise Refused(form.problem)
        return Closing(EventStream(reader, first, self._headers()), self.end)

    def end(self) -> None:
        """Leave; may be called again."""
        if self._reader is not None:
            self._reader.close()
        if not self._plan.head.store and self._id.session:
            self._hub.deletions.forget(self._id.session)

    def _place(self, make: Callable[[ResponseId], F]) -> tuple[Reader, F]:
        dialect = ReplyDialect.new()
        self._reader = reader = Reader(self._hub, dialect, self._request, self._gone)
        self._id, form = self._beginning.place(self._plan, make, dialect, reader.connection)
        return reader, form

    def _gone(self, reader: Reader) -> None:
        if not self._plan.head.background and not self._hub.stopping:
            self._hub.stop(reader.connection, self._id.message)

    def _headers(self) -> dict[str, str]:
        return {SESSION: self._id.session, MESSAGE: self._id.message} if self._plan.head.store else {}
