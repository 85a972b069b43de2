"""From a client's message to the broker: one at a time per session, the others wait in its line.

With a store, the message is stored with an open turn before it is submitted; the worker takes what was said before it
from there. Without one none of that happens.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.connection import Connection
from gateway.conversation import Conversation
from gateway.dialect import Ask, Dialect
from gateway.history import History
from gateway.line import Entry
from gateway.live import LiveSession
from shared.answer import then
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.errors import Busy, ChatError, QueueFull, SessionNotFound
from shared.messages import TERMINAL, Accepted, Item, Page, Submission, encode_events
from shared.store import Answer, Question, Store, StoredSession, StoredTurn
from shared.window import Window

if TYPE_CHECKING:
    from gateway.hub import Hub

TITLE = 80  # characters


class Keeping:
    """What belongs together where there is a store."""

    def __init__(self, store: Store, broker: GatewayBroker, clock: Clock, window: Window) -> None:
        self.store = store
        self.clock = clock
        self.history = History(store, broker, clock)
        self.window = window


class Submitting:
    """All of it runs in the event loop's thread, in callbacks; `keeping` is None where nothing is stored."""

    def __init__(self, hub: "Hub", broker: GatewayBroker, keeping: Keeping | None) -> None:
        self._hub = hub
        self._broker = broker
        self._keeping = keeping
        self._tasks: set[asyncio.Future[Any]] = set()

    def ask(self, connection: Connection, ask: Ask) -> None:
        """Submit a message, now or when its turn comes."""
        session = connection.session
        if session is None:
            connection.outbox.put(connection.dialect.refused(ask.id, SessionNotFound()))
        elif session.line.holds(ask.id, connection):
            return  # the same id again: its one `accepted` is still to come
        elif session.line.push(Entry(connection, ask)):
            self.advance(session)
        else:
            connection.outbox.put(connection.dialect.refused(ask.id, Busy()))

    def advance(self, session: LiveSession) -> None:
        """Submit the next message, if it is its turn."""
        entry = session.line.take()
        if entry is None:
            return
        if self._keeping is None or session.conversation is None or not entry.ask.stored:
            self._submit(session, entry, session.submission(entry.ask))
        else:
            self._keep(self._keeping, session, session.conversation, entry)

    def ended(self, session: LiveSession, item: Item) -> None:
        """A terminal was drained."""
        if self._keeping is not None and session.conversation is not None:
            self._keeping.history.complete(item)
        self.advance(session)

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._keeping is not None:
            await self._keeping.history.close()

    # --- storing -----------------------------------------------------------------------------------------------------

    def _keep(self, keeping: Keeping, session: LiveSession, conversation: Conversation, entry: Entry) -> None:
        ask = entry.ask
        try:
            room = keeping.window.room(_own(session, ask), ask.params.max_tokens)
        except ChatError as error:
            self._refuse(session, entry, error)
            return
        if not conversation.current:
            self._catch_up(keeping, session, conversation, entry)
            return
        now = keeping.clock.wall_ms()
        if not conversation.opened:
            self._open(keeping, session, conversation, _title(ask.content), now)
        question = Question(session.id, ask.id, ask.content, ask.model, ask.params, now, dict(ask.meta))
        then(
            keeping.store.ask(question, fresh=session.is_new(ask.id)),
            partial(self._stored, session, entry, room),
            partial(self._not_stored, session, conversation, entry),
        )

    def _catch_up(self, keeping: Keeping, session: LiveSession, conversation: Conversation, entry: Entry) -> None:
        """What the broker still knows of earlier replies, and the store does not, goes there first."""

        def loaded(turns: list[StoredTurn]) -> None:
            catch_up(session, conversation, turns)
            self._keep(keeping, session, conversation, entry)

        task = asyncio.ensure_future(keeping.history.turns(session.id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        then(task, loaded, partial(self._refuse, session, entry))

    def _open(self, keeping: Keeping, session: LiveSession, conversation: Conversation, title: str, now: int) -> None:
        def opened(_: None) -> None:
            conversation.opened, conversation.open_error = True, None

        def failed(error: ChatError) -> None:
            conversation.open_error = error

        stored = StoredSession(session.id, session.owner, title, session.system, session.model, now, now)
        then(keeping.store.open(stored), opened, failed)

    def _stored(self, session: LiveSession, entry: Entry, room: int, answer: Answer | None) -> None:
        if answer is not None:
            self._ended_before(session, entry, answer)
            return
        entry = session.line.submitting or entry  # it may have been stopped meanwhile
        self._submit(session, entry, session.submission(entry.ask, room))

    def _not_stored(self, session: LiveSession, conversation: Conversation, entry: Entry, error: ChatError) -> None:
        """Where the session could not be stored, its message says only that it is not there."""
        self._refuse(session, entry, conversation.open_error or error)

    def _ended_before(self, session: LiveSession, entry: Entry, answer: Answer) -> None:
        """The store knows how it ended, be it long ago: it does not run again. Whether its end still comes to those who
        lack it is the broker's to say: replies expire there in their order."""

        def found(page: Page) -> None:
            oldest = page.items[0].generation if page.items else answer.generation + 1
            self._again(session, entry, answer, comes=oldest <= answer.generation)

        def failed(error: ChatError) -> None:
            if isinstance(error, SessionNotFound):
                self._again(session, entry, answer, comes=False)
            else:
                self._refuse(session, entry, error)

        if self._hub.has(session):  # it may be open still, with nothing of it to be read: then that brings it
            self._hub.attach_again(session)
        then(self._broker.read(session.id, None, 1), found, failed)

    def _again(self, session: LiveSession, entry: Entry, answer: Answer, *, comes: bool) -> None:
        """An id that has ended. Where its end does not come as an event the sender gets it from here, unless it has
        seen what came later: cursors never go back."""
        id, sender = entry.ask.id, entry.sender
        runs = session.line.running == answer.generation  # its worker stores the end before it sends it
        session.accepted(id, answer.generation, ended=not runs)
        self._tell(session, entry, lambda dialect: dialect.accepted(id, 0))
        if not (comes or runs) and isinstance(sender, Connection) and sender.session is session:
            after = sender.outbox.after
            if after is None or after.position < answer.cursor.position:
                sender.outbox.put(sender.dialect.events(_terminal(answer), 0))
        self._hub.settle(session)
        self.advance(session)

    # --- submitting --------------------------------------------------------------------------------------------------

    def _submit(self, session: LiveSession, entry: Entry, submission: Submission) -> None:
        if entry.stopped:
            self._broker.cancel(session.id, entry.ask.id)  # in the same batch of calls: no loss comes between the two
        answer = self._broker.submit(submission)
        then(answer, partial(self._accepted, session, entry), partial(self._not_accepted, session, entry))

    def _accepted(self, session: LiveSession, entry: Entry, answer: Accepted) -> None:
        session.accepted(entry.ask.id, answer.generation, ended=answer.ended)
        self._tell(session, entry, lambda dialect: dialect.accepted(entry.ask.id, answer.place))
        self._hub.settle(session)
        self.advance(session)

    def _not_accepted(self, session: LiveSession, entry: Entry, error: ChatError) -> None:
        if session.conversation is not None:
            session.conversation.missed()  # it is stored, and may have run in a memory that is lost since
        if isinstance(error, Busy):
            session.line.busy(error.detail)
        elif isinstance(error, SessionNotFound) and self._hub.has(session):
            session.line.busy(0)  # the broker has lost its memory: once it knows the session again the message is new
            session.release()  # and what was held back will never be accepted
            self._hub.attach_again(session)
        elif isinstance(error, QueueFull) and self._keeping is not None and session.conversation is not None:
            self._take_back(self._keeping.store, session, entry, error)
            return
        else:
            self._refuse(session, entry, error)
            return
        self._go_on(session, entry)

    def _take_back(self, store: Store, session: LiveSession, entry: Entry, error: ChatError) -> None:
        """Nothing was accepted, so nothing shall stand in the history; the client hears of it behind that, lest the
        same id comes again and is taken for this one."""

        def refuse(_: object) -> None:
            self._refuse(session, entry, error)

        then(store.withdraw(session.id, entry.ask.id), refuse, refuse)

    def _refuse(self, session: LiveSession, entry: Entry, error: ChatError) -> None:
        if session.conversation is not None:
            session.conversation.missed()  # it may be stored all the same
        session.line.failed()
        self._tell(session, entry, lambda dialect: dialect.refused(entry.ask.id, error))
        self._go_on(session, entry)

    def _go_on(self, session: LiveSession, entry: Entry) -> None:
        if not self._hub.knows(entry.sender):
            session.line.drop(entry.sender)  # it may have gone back to the line
        self._hub.settle(session)
        self.advance(session)

    def _tell(self, session: LiveSession, entry: Entry, say: Callable[[Dialect], list[bytes]]) -> None:
        sender = entry.sender
        if isinstance(sender, Connection) and sender.session is session and self._hub.knows(sender):
            sender.outbox.put(say(sender.dialect))


def catch_up(session: LiveSession, conversation: Conversation, turns: list[StoredTurn]) -> None:
    """Let the session know what the store knows of it."""
    conversation.current = True
    newest = max((turn.answer.generation for turn in turns if turn.answer is not None), default=0)
    session.generation = max(session.generation, newest)


def _own(session: LiveSession, ask: Ask) -> int:
    """How long is what of a context is not for choice, in characters: the message, and the system prompt or whatever
    stands in place of all that."""
    before = len(session.system or "") if ask.context is None else sum(len(turn.content) for turn in ask.context)
    return before + len(ask.content)


def _title(content: str) -> str:
    """The first words of a session name it."""
    line = " ".join(content[: TITLE * 4].split())
    return line if len(line) <= TITLE else f"{line[: TITLE - 1].rstrip()}\u2026"


def _terminal(answer: Answer) -> Item:
    """As it was in the stream."""
    one = answer
    place = (one.session, one.generation, one.attempt, one.nonce, one.id, one.seq, 1, TERMINAL)
    return Item(*place, encode_events([one.end]), index=-1)
