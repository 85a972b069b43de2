"""HTTP's dialects: a session's events as server-sent events, and answers to single requests."""

from collections.abc import Callable, Sequence

from gateway.dialect import Action
from gateway.protocol import JsonDialect
from gateway.refusals import Stopping
from gateway.streams import END
from shared.errors import ChatError, SessionNotFound
from shared.messages import Item

STEP = b"\n"  # wakes whoever takes; never sent
RETRY_MS = 1_000
_TAG = len(b'{"type":"')  # frames begin with it


def retry(ms: int) -> bytes:
    """How long an EventSource is to wait before it comes again."""
    return b"retry: %d\n\n" % ms


def event(frame: bytes, cursor: str = "") -> bytes:
    """A frame of the JSON dialect as a server-sent event (HTML, section 9.2). JSON has no line breaks."""
    kind = frame[_TAG : frame.index(b'"', _TAG)]
    head = b"id: %b\n" % cursor.encode() if cursor else b""
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind, frame)


def later(error: ChatError) -> bytes:
    """A stream that says only that it cannot be had now: an EventSource comes again, but never behind an error status
    (HTML, section 9.2.3)."""
    return b"".join([retry(RETRY_MS), *map(event, JsonDialect().refused(None, error))])


class HttpDialect:
    """What the dialects below have in common: nothing comes from the client but the request itself.

    `error`: why there is no answer. `open`: the ids that were under way when the session was joined; None before.
    """

    def __init__(self) -> None:
        self.error: ChatError | None = None
        self.open: Sequence[str] | None = None
        self.frames = JsonDialect()

    def receive(self, text: str) -> Sequence[Action]:
        """See Dialect."""
        return ()

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        self.open = tuple(open)
        return [STEP]

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        return []

    def not_joined(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return self.fail(error)

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return []

    def queued(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return []

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return self.fail(error)

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        return []

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        """See Dialect."""
        return []

    def farewell(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return self.fail(error)

    def fail(self, error: ChatError) -> list[bytes]:
        """The first reason counts."""
        self.error = self.error or error
        return [END]


class SessionEvents(HttpDialect):
    """All of a session, for as long as the client listens."""

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        super().joined(session, resumed=resumed, recovered=recovered, open=open)
        return [
            retry(RETRY_MS),
            *map(event, self.frames.joined(session, resumed=resumed, recovered=recovered, open=open)),
        ]

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        return [*map(event, self.frames.lost(session, pending=pending, open=open))]

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return [*map(event, self.frames.accepted(id, place))]

    def queued(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return [*map(event, self.frames.queued(id, place))]

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return [*map(event, self.frames.refused(id, error))]

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        head, tail, first = f"{item.generation}-{item.attempt}-", f"-{item.nonce}", item.first + skip
        return [event(frame, f"{head}{seq}{tail}") for seq, frame in enumerate(self.frames.events(item, skip), first)]

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        """See Dialect."""
        return [retry(retry_after_ms), *map(event, self.frames.going_away(retry_after_ms))]

    def farewell(self, error: ChatError) -> list[bytes]:
        """See Dialect. Of a stop it has heard."""
        said = [] if isinstance(error, Stopping) else self.frames.refused(None, error)
        return [*map(event, said), *super().farewell(error)]


class ReplyEvents(SessionEvents):
    """One reply: from its acceptance, or its beginning, to its terminal. `settled`: that it is, or will be when it has
    its turn in a session that is busy; what is refused before that is no stream."""

    def __init__(self, id: str) -> None:
        super().__init__()
        self.settled = False
        self._id = id

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        self.settled = bool(open) and self._id not in open
        return super().joined(session, resumed=resumed, recovered=recovered, open=open)

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect. What was not accepted is submitted again."""
        said = super().lost(session, pending=pending, open=open)
        return [*said, END] if self.settled and pending else said

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        self.settled = True
        return super().accepted(id, place)

    def queued(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return super().queued(id, place) if id == self._id else []

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return [*(super().refused(id, error) if self.settled else ()), *self.fail(error)]

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        if item.id != self._id:
            return []
        self.settled = True
        said = super().events(item, skip)
        return [*said, END] if item.terminal else said


class Acceptance(HttpDialect):
    """Whether a message is accepted: `place`. `on_accepted` is called in that very moment."""

    def __init__(self, on_accepted: Callable[[], None]) -> None:
        super().__init__()
        self.place: int | None = None
        self._on_accepted = on_accepted

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        self.place = place
        self._on_accepted()
        return [STEP, END]


class Ending(HttpDialect):
    """The terminal of one reply: `frame`, as the JSON dialect has it. All that come are kept until `follow` says which
    reply it is."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._frames: dict[str, bytes] = {}

    @property
    def frame(self) -> bytes | None:
        """None: it has not come."""
        return None if self._id is None else self._frames.get(self._id)

    def follow(self, id: str) -> "Ending":
        """From now on only this one counts."""
        self._id = id
        return self

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        return self.fail(SessionNotFound("The reply was lost, and so it has ended."))

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        if not item.terminal or self._id not in (None, item.id):
            return []
        self._frames[item.id] = self.frames.events(item, item.count - 1)[0]
        return [STEP, END] if self._id is not None else []
