"""Readers that are behind read from the broker by position, a page whenever their socket has room, until they have
everything and may be live."""

from collections.abc import Callable
from functools import partial

from gateway.connection import Connection
from gateway.live import LiveSession
from gateway.outbox import Outbox
from shared.answer import then
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.errors import ChatError
from shared.messages import Page

PAGE_BYTES = 8 << 10


class Paging:
    """`blocked` gathers outboxes whose socket had no room; `advance` is called where a page may have brought the end of
    a reply."""

    def __init__(
        self,
        broker: GatewayBroker,
        clock: Clock,
        blocked: dict[Outbox, None],
        advance: Callable[[LiveSession], None],
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._blocked = blocked
        self._advance = advance

    def go_on(self, connection: Connection) -> None:
        """Something that it may have waited for is there: room in its socket, or an answer."""
        if not connection.outbox.live:
            self.catch_up(connection)

    def close_gaps(self, session: LiveSession) -> None:
        """Let those of its readers catch up that do not have all of what is known."""
        for connection in session.connections:
            outbox = connection.outbox
            if not outbox.live or outbox.next_index <= session.newest:
                outbox.live = False
                self.catch_up(connection)

    def catch_up(self, connection: Connection) -> None:
        """Read the next page, unless one is on its way or the socket has no room."""
        session, outbox = connection.session, connection.outbox
        if session is None or outbox.reading or outbox.blocked_at is not None or session.line.submitting is not None:
            return
        session.leave_lane()
        outbox.reading = True
        then(
            self._broker.read(session.id, outbox.after, PAGE_BYTES),
            partial(self._paged, connection, session),
            partial(self._not_paged, connection),
        )

    def write(self, connection: Connection, session: LiveSession, page: Page) -> None:
        """Write what the reader does not have yet; live from here on where that is all."""
        outbox = connection.outbox
        for item in page.items:
            if item.index >= outbox.next_index:
                outbox.write(item)
            session.note(item)
        if not outbox.flush(self._clock.now()):
            self._blocked[outbox] = None
            return
        if page.more or outbox.next_index <= session.newest:
            self.catch_up(connection)
        else:
            outbox.live = True
        self._advance(session)

    def _paged(self, connection: Connection, session: LiveSession, page: Page) -> None:
        outbox = connection.outbox
        outbox.reading = False
        if connection.session is not session or session.line.submitting is not None:
            return  # gone; or an Accepted has to be said first, and its answer reads again
        if not page.recovered:
            pending = session.line.running != 0 or outbox.next_index <= session.newest
            outbox.begin(None, page.items[0].index if page.items else session.newest + 1)
            outbox.put(connection.dialect.lost(session.id, pending=pending, open=session.open))
        self.write(connection, session, page)

    def _not_paged(self, connection: Connection, error: ChatError) -> None:
        connection.outbox.reading = False  # the next tick tries again
