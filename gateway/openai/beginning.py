"""How a response begins: which conversation it continues, in which session, and the message that asks for it."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from gateway.connection import Connection
from gateway.dialect import Ask
from gateway.hub import Hub
from gateway.openai.archive import Archive, meta_of, previous_not_found
from gateway.openai.form import ReplyDialect, ReplyForm
from gateway.openai.models import Models
from gateway.openai.problem import Refused
from gateway.openai.response import Head
from gateway.openai.response_id import ResponseId
from gateway.openai.response_request import ResponseRequest
from gateway.openai.turns import split
from shared.clock import Clock
from shared.messages import Cursor
from shared.request import Turn

F = TypeVar("F", bound=ReplyForm)


class Plan(NamedTuple):
    """What is to be asked. `session`: the one that goes on, behind `after`; None: a new one."""

    head: Head
    turns: tuple[Turn, ...]
    model: str | None
    session: str | None = None
    after: Cursor | None = None


class Beginning:
    """Plans and places. `keeps`: whether there is a history besides the broker."""

    def __init__(self, hub: Hub, clock: Clock, models: Models, archive: Archive, *, keeps: bool) -> None:
        self._hub = hub
        self._clock = clock
        self._models = models
        self._archive = archive
        self._keeps = keeps

    async def plan(self, asked: ResponseRequest, owner: str) -> Plan:
        """Raises Refused where the previous response is not there, or has not ended."""
        if asked.previous is None:
            return self.planned(asked, ())
        try:
            found = await self._archive.find(asked.previous, owner)
            said = await self._archive.conversation(found)
        except Refused as refused:
            if refused.problem.status != 404:
                raise
            raise previous_not_found(asked.previous) from None
        if not (asked.store and await self._archive.is_last(found)):
            return self.planned(asked, said)
        newest = None if found.recalled is None else found.recalled.newest
        return self.planned(asked, said, goes_on=True)._replace(session=found.id.session, after=newest)

    def planned(self, asked: ResponseRequest, said: tuple[Turn, ...], *, goes_on: bool = False) -> Plan:
        """Behind what was said already. `goes_on`: in the same session, which knows that itself."""
        shown, model = self._models.resolve(asked.model)
        head = Head(
            self._clock.wall_ms() // 1000,
            shown,
            asked.input,
            asked.instructions,
            asked.previous,
            asked.params,
            asked.metadata,
            asked.background,
            asked.store,
            () if goes_on or not self._keeps else said,
        )
        instructions = (Turn("system", asked.instructions),) if asked.instructions else ()
        return Plan(head, (*instructions, *said, *asked.input), model)

    def place(
        self, plan: Plan, make: Callable[[ResponseId], F], dialect: ReplyDialect, connection: Connection
    ) -> tuple[ResponseId, F]:
        """Ask, over a connection with this dialect, for a reply in the form that is to be made."""
        ask = self._ask(dialect.id, plan)
        if plan.session is None:
            self._hub.begin(connection, None, None, stored=plan.head.store)
        else:
            # behind the hub's own work with the answer
            dialect.on_joined = lambda: asyncio.get_running_loop().call_soon(self._hub.ask, connection, ask)
            self._hub.resume(connection, plan.session, plan.after)
        session = plan.session or (connection.session.id if connection.session is not None else "")
        id = ResponseId(session, dialect.id)
        dialect.form = form = make(id)
        if plan.session is None:
            self._hub.ask(connection, ask)  # which may be refused at once
        return id, form

    def _ask(self, message: str, plan: Plan) -> Ask:
        content, context = split(plan.turns)
        meta = meta_of(plan.head) if plan.head.store else {}
        return Ask(message, content, plan.model, plan.head.params, context, meta, plan.head.store)
