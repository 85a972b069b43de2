"""The gateway's registry of attached sessions, fed by one drain for all of them.

From a drained batch to the sockets there is no task, queue, timer, lock or round trip: each item goes to its session's
connections, and each connection that got something is written to once. Everything else (submit, cancel, attach, read)
is a call to the broker and a callback on its answer.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from gateway import deletions
from gateway.connection import Connection
from gateway.conversation import Conversation
from gateway.dialect import Ask
from gateway.live import LiveSession
from gateway.outbox import Outbox
from gateway.paging import Paging
from gateway.partings import Partings
from gateway.patience import Patience
from gateway.reviving import Reviving
from gateway.stops import Stops
from gateway.submitting import Keeping, Submitting
from shared.answer import ignore, then
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.errors import ChatError, SessionNotFound, UnknownId
from shared.messages import TERMINAL, Attached, Batch, Cursor, Item

SILENCE = 1.0  # seconds: a running session that says nothing between two ticks is checked by position
log = structlog.get_logger("gateway")


class Hub:
    """All of it runs in the event loop's thread, in callbacks."""

    def __init__(self, broker: GatewayBroker, clock: Clock, patience: Patience, keeping: Keeping | None = None) -> None:
        self._broker = broker
        self._keeping = keeping
        self.history = None if keeping is None else keeping.history  # the store, with what the broker knows besides
        self._submitting = Submitting(self, broker, keeping)
        self._reviving = Reviving(self, broker, keeping)
        self._clock = clock
        self._patience = patience
        self._stops = Stops(broker)
        self._partings = Partings(broker)
        self.deletions = deletions.Deletions(broker)
        self._sessions: dict[str, LiveSession] = {}
        self._connections: dict[Connection, None] = {}
        self._touched: list[Outbox] = []
        self._blocked: dict[Outbox, None] = {}  # whose socket had no room when it was last written to
        self.paging = Paging(broker, clock, self._blocked, self._submitting.advance)
        self._flush_due = False
        self._epoch = ""
        self._losses = 0  # of all subscriptions
        self._timer: asyncio.TimerHandle | None = None
        self.stopping = False

    def __len__(self) -> int:
        return len(self._connections)

    def now(self) -> float:
        """Clock seconds."""
        return self._clock.now()

    # --- the drain ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drain for the life of the process."""
        while True:
            self.deliver(await self._broker.drain())

    def deliver(self, batch: Batch) -> None:
        """Everything of a batch, then one write per connection."""
        self._flush_due = True  # at the end of this very call
        self._see_epoch(batch.epoch)
        self._partings.repeat(self._sessions)
        if batch.lost:
            self._losses += 1
            self._attach_again()
        for id in batch.gone:
            self._gone(self._sessions.get(id))
        for news in batch.places:
            session = self._sessions.get(news.session)
            if session is not None and session.waits(news.id):
                for connection in session.connections:
                    connection.outbox.put(connection.dialect.queued(news.id, news.place))
        sessions = self._sessions
        for item in batch.items:
            session = sessions.get(item.session)
            if session is None or (session.lane is not None and session.lane.follow(item)):
                continue
            if not session.hold_back(item):
                self._deliver(session, item)
        self._flush()

    def _deliver(self, session: LiveSession, item: Item) -> None:
        session.note(item)
        for connection in session.connections:  # also of what was seen before: in a page, by one connection only
            if not connection.outbox.offer(item):
                self.paging.catch_up(connection)
        if item.flags & TERMINAL:
            self._submitting.ended(session, item)
        else:
            session.take_lane()

    def touch(self, outbox: Outbox) -> None:
        """The outbox has something to be written in this turn of the loop."""
        self._touched.append(outbox)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        touched, self._touched = self._touched, []
        now = self._clock.now()
        for outbox in touched:
            if not outbox.flush(now):
                self._blocked[outbox] = None

    # --- joining and leaving -----------------------------------------------------------------------------------------

    def enter(self, connection: Connection) -> None:
        """A connection exists."""
        self._connections[connection] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SILENCE, self._tick)

    def begin(self, connection: Connection, system: str | None, model: str | None, *, stored: bool = True) -> None:
        """Make a session for the connection. Messages need not wait for the answer: they reach the broker behind it.
        `stored`: its conversation is to last, if there is a store."""
        conversation = Conversation(begun_here=True) if stored and self._keeping is not None else None
        session = LiveSession(f"s_{secrets.token_hex(12)}", connection.caller.owner, system, model, conversation)
        self._sessions[session.id] = session
        connection.session = session
        session.joining += 1
        self._broker.open(session.id, session.owner, session.system, session.model)
        self._join(connection, session, None, partial(self.not_joined, connection, session), resumed=False)

    def resume(self, connection: Connection, id: str, after: Cursor | None) -> None:
        """Join a session that exists, somewhere."""
        conversation = None if self._keeping is None else Conversation(begun_here=False)
        session = self._sessions.get(id) or LiveSession(id, "", None, None, conversation)
        self._sessions[id] = session
        session.joining += 1
        connection.begin_joining()
        not_known = partial(self._reviving.revive, connection, session, after)
        self._join(connection, session, after, not_known, resumed=True)

    def join_revived(self, connection: Connection, session: LiveSession, after: Cursor | None) -> None:
        """The broker, which did not know a session that the store knows, knows it now."""
        not_known = partial(self.not_joined, connection, session)
        self._join(connection, session, after, not_known, resumed=True, revived=True)

    def _join(
        self,
        connection: Connection,
        session: LiveSession,
        after: Cursor | None,
        not_joined: Callable[[ChatError], None],
        *,
        resumed: bool,
        revived: bool = False,
    ) -> None:
        joined = partial(self._joined, connection, session, after, resumed, revived, self._losses)
        then(self._broker.attach(session.id, after), joined, not_joined)

    def _joined(
        self,
        connection: Connection,
        session: LiveSession,
        after: Cursor | None,
        resumed: bool,
        revived: bool,
        losses: int,
        answer: Attached,
    ) -> None:
        self._see_epoch(answer.epoch)
        if answer.owner != connection.caller.owner:  # another's session is one that does not exist
            self.not_joined(connection, session, SessionNotFound())
            return
        session.joining -= 1
        session.attached(answer, after)
        if connection not in self._connections:
            self._leave(session)
            return
        connection.session = session
        session.leave_lane()
        session.connections.append(connection)
        page = answer.page
        first = page.items[0].index if page.items else answer.newest + 1
        recovered = page.recovered and not revived
        connection.outbox.begin(after if recovered else None, first)
        said = connection.dialect.joined(session.id, resumed=resumed, recovered=recovered, open=answer.open)
        connection.outbox.put(said)
        if session.line.submitting is None or not page.items:  # else an Accepted comes first; its answer reads again
            self.paging.write(connection, session, page)
        if losses != self._losses:
            self.attach_again(session)  # the answer may be older than the loss
        connection.end_joining()

    def not_joined(self, connection: Connection, session: LiveSession, error: ChatError) -> None:
        """There is no such session for this connection, or nobody can say now."""
        session.joining -= 1
        self._leave(session)
        if connection not in self._connections:
            return
        said = connection.dialect.not_joined(error)
        if connection.session is session:  # it was to be a new one: its messages have nowhere to go
            connection.session = None
            for entry in session.line.clear():
                said += connection.dialect.refused(entry.ask.id, error)
        connection.outbox.put(said)
        connection.end_joining()

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)
        self._blocked.pop(connection.outbox, None)
        session, connection.session = connection.session, None
        if session is not None:
            session.line.drop(connection)
            if connection in session.connections:
                session.leave_lane()
                session.connections.remove(connection)
            self._leave(session)

    def _leave(self, session: LiveSession) -> None:
        """The last one out ends the subscription."""
        if not session.connections and not session.joining and self._sessions.get(session.id) is session:
            del self._sessions[session.id]
            self._partings.detach(session.id)

    # --- messages ----------------------------------------------------------------------------------------------------

    def ask(self, connection: Connection, ask: Ask) -> None:
        """Submit a message, now or when its turn comes."""
        self._submitting.ask(connection, ask)

    def settle(self, session: LiveSession) -> None:
        """A submit has its answer: what was held back may go."""
        for item in session.release():
            self._deliver(session, item)
        for connection in session.connections:
            self.paging.go_on(connection)

    def has(self, session: LiveSession) -> bool:
        """Whether it is still attached here."""
        return self._sessions.get(session.id) is session

    def knows(self, sender: object) -> bool:
        """Whether it is a connection that is still here."""
        return sender in self._connections

    def stop(self, connection: Connection, id: str) -> None:
        """Cancel a reply, wherever it is."""
        session = connection.session
        if session is None:
            connection.outbox.put(connection.dialect.refused(id, UnknownId()))
        else:
            self._stops.send(connection, session, id)

    # --- losses ------------------------------------------------------------------------------------------------------

    def _see_epoch(self, epoch: str) -> None:
        """A new epoch is a broker that has forgotten all: every session is told."""
        known, self._epoch = self._epoch, epoch
        if not known or known == epoch:
            return
        log.warning("the broker has lost its memory; telling every session", sessions=len(self._sessions))
        self._stops.forget()
        for session in self._sessions.values():
            self._tell_loss(session, 0, ())

    def _tell_loss(self, session: LiveSession, first: int, open: Sequence[str]) -> None:
        """Forget what the broker does not know any more, and say so. `first`: index of the item that comes next."""
        newest, running = session.newest, session.forget()
        for connection in session.connections:
            pending = running or connection.outbox.next_index <= newest  # of an ended one it may lack the rest
            connection.outbox.begin(None, first)
            connection.outbox.put(connection.dialect.lost(session.id, pending=pending, open=open))

    def _attach_again(self) -> None:
        for session in self._sessions.values():
            if session.connections:
                self.attach_again(session)

    def attach_again(self, session: LiveSession) -> None:
        """Subscribe anew, at the last event that came by the old subscription."""
        self._broker.open(*session.known)
        answer = self._broker.attach(session.id, session.after)
        then(answer, partial(self._attached_again, session), partial(self._gone, session))

    def _attached_again(self, session: LiveSession, answer: Attached) -> None:
        self._see_epoch(answer.epoch)
        if session.is_behind(answer):
            log.warning("the broker has lost the end of a session; telling it")
            items = answer.page.items
            self._tell_loss(session, items[0].index if items else answer.newest + 1, answer.open)
        session.attached(answer)
        for item in answer.page.items:
            if not session.hold_back(item):
                self._deliver(session, item)
        self.paging.close_gaps(session)
        self._submitting.advance(session)

    def _gone(self, session: LiveSession | None, error: ChatError = deletions.GONE) -> None:
        """It has been forgotten; or an attach failed, for that reason or another."""
        if isinstance(error, SessionNotFound) and session and self._sessions.get(session.id) is session:
            deletions.tell(self._sessions.pop(session.id))

    # --- time --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Once a second, while there are connections."""
        self._timer = asyncio.get_running_loop().call_later(SILENCE, self._tick) if self._connections else None
        now = self._clock.now()
        silent = []
        for session in self._sessions.values():
            if not session.look(now) and session.line.running and session.connections:
                silent.append(session)
            self.paging.close_gaps(session)  # where a page could not be read
        self._check(silent)
        self._patience.sweep(self._blocked, self._connections, self._clock)

    def _check(self, silent: list[LiveSession]) -> None:
        """G8: a running session that says nothing may have missed something."""
        if silent:
            then(self._broker.newest([session.id for session in silent]), partial(self._checked, silent), ignore)

    def _checked(self, sessions: list[LiveSession], newest: list[int]) -> None:
        for session, index in zip(sessions, newest, strict=True):
            session.know(index)
            self.paging.close_gaps(session)

    # --- the end -----------------------------------------------------------------------------------------------------

    def going_away(self, retry_after_ms: int) -> None:
        """Tell every client that can be told; each another time, for all at once would be a second outage."""
        for connection in self._connections:
            connection.outbox.put(connection.dialect.going_away(round(retry_after_ms * random.uniform(0.5, 1.5))))

    async def close(self) -> None:
        """Stop the clockwork."""
        self._stops.forget()
        self.deletions.close()
        await self._submitting.close()
        await self._reviving.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
