"""One lane of a socket in WebSocket mode: its responses come one after the other; several lanes share the socket."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from gateway.caller import Caller
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.openai.beginning import Beginning, Plan
from gateway.openai.form import END, ReplyDialect
from gateway.openai.problem import Refused, problem_of
from gateway.openai.response_id import ResponseId
from gateway.openai.response_reply import ResponseStream
from gateway.openai.response_request import ResponseRequest
from gateway.openai.socket_events import error_event, framed, warmed
from gateway.outbox import Writer
from gateway.refusals import Stopping
from shared.errors import ChatError
from shared.request import Turn

LONGEST = 8  # requests that may wait in a lane
log = structlog.get_logger("gateway")


class LaneWriter:
    """See gateway.outbox.Writer: one reply's part of a socket. `ended` is done with END."""

    def __init__(self, socket: Writer) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._socket = socket

    def send(self, payloads: list[bytes]) -> None:
        """See Writer."""
        said = [payload for payload in payloads if payload != END]
        if said:
            self._socket.send(said)
        if len(said) < len(payloads):
            self.end()

    @property
    def full(self) -> bool:
        """See Writer."""
        return self._socket.full

    def close(self, code: int, reason: str) -> None:
        """See Writer. The hub gives the client up, and so all of its lanes; or it ends what has ended already."""
        if not self.ended.done():
            self._socket.close(code, reason)

    def end(self) -> None:
        """Wait for no more."""
        if not self.ended.done():
            self.ended.set_result(None)


class Socket(NamedTuple):
    """What the lanes of one socket share. `known`: conversations up to responses that are stored nowhere, by their
    ids."""

    writer: Writer
    hub: Hub
    beginning: Beginning
    caller: Caller
    known: dict[str, tuple[Turn, ...]]


class Lane:
    """Works while it has something to do. The newest of its responses can be continued though it is not stored."""

    def __init__(self, name: str | None, socket: Socket) -> None:
        self._name = name
        self._socket = socket
        self._waiting: deque[ResponseRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writer: LaneWriter | None = None
        self._newest = ""  # the key of what it has in `known`

    @property
    def busy(self) -> bool:
        """Whether it works."""
        return self._task is not None and not self._task.done()

    def add(self, asked: ResponseRequest) -> bool:
        """Do this in its turn. False: too much waits already."""
        if len(self._waiting) >= LONGEST:
            return False
        self._waiting.append(asked)
        if not self.busy:
            self._task = asyncio.get_running_loop().create_task(self._work())
        return True

    def on_drained(self) -> None:
        """The socket has emptied."""
        if self._writer is not None and self._writer.on_drained is not None:
            self._writer.on_drained()

    def forget(self) -> None:
        """Nothing goes on from here any more."""
        self._socket.known.pop(self._newest, None)

    async def close(self) -> None:
        """The client has gone: what runs is stopped, but for what is in the background."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while self._waiting:
            try:
                await self._serve(self._waiting.popleft())
            except ChatError as error:
                self._socket.writer.send([error_event(problem_of(error), self._name)])
            except Exception:
                log.exception("a response on a socket failed")
                self._socket.writer.send([error_event(problem_of(ChatError()), self._name)])

    async def _serve(self, asked: ResponseRequest) -> None:
        if self._socket.hub.stopping:
            raise Stopping
        beginning, known = self._socket.beginning, self._socket.known
        said = known.get(asked.previous or "")
        if said is None:
            plan = await beginning.plan(asked, self._socket.caller.owner)
        else:
            plan = beginning.planned(asked, said)
        if asked.generate:
            await self._reply(plan)
        else:
            id = ResponseId.in_session("")
            self._socket.writer.send(warmed(id, plan.head, self._name))
            self._remember(id, plan, "")

    async def _reply(self, plan: Plan) -> None:
        self._writer = writer = LaneWriter(self._socket.writer)
        connection = Connection(self._socket.hub, dialect := ReplyDialect.new(), writer, self._socket.caller)
        writer.on_drained = connection.on_drained
        id, form = self._socket.beginning.place(
            plan, lambda id: ResponseStream(id, plan.head, framed(self._name)), dialect, connection
        )
        try:
            await writer.ended
        except asyncio.CancelledError:
            if not plan.head.background and not self._socket.hub.stopping:
                self._socket.hub.stop(connection, id.message)
            raise
        finally:
            self._writer = None
            connection.on_gone()
            if not plan.head.store:
                self._socket.hub.deletions.forget(id.session)
        if form.problem is not None and not form.begun:
            raise Refused(form.problem)
        if not plan.head.store and form.problem is None and form.outcome.status != "failed":
            self._remember(id, plan, form.outcome.text)

    def _remember(self, id: ResponseId, plan: Plan, text: str) -> None:
        self.forget()
        self._newest = str(id)
        said = plan.turns[1 if plan.head.instructions else 0 :]
        self._socket.known[self._newest] = (*said, Turn("assistant", text)) if text else said
