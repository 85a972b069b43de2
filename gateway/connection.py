"""One client's connection: from its frames to the hub, from the hub to its outbox."""

from typing import TYPE_CHECKING

from gateway.caller import NOBODY, Caller
from gateway.dialect import Ask, Begin, Close, Dialect, Resume, Say, Stop
from gateway.outbox import Outbox, Writer

if TYPE_CHECKING:
    from gateway.hub import Hub
    from gateway.live import LiveSession

OVERLOADED = 1013
MOST_EARLY = 64


class Connection:
    """Input comes by callback (`on_text`), so that an endpoint may but need not be a loop. Whoever makes it calls
    `on_drained` when the writer has been full and is not any more, and `on_gone` at the end."""

    __slots__ = ("_closed", "_early", "active_at", "caller", "dialect", "hub", "outbox", "session")

    def __init__(self, hub: "Hub", dialect: Dialect, writer: Writer, caller: Caller = NOBODY) -> None:
        self.hub = hub
        self.caller = caller
        self.dialect = dialect
        self.outbox = Outbox(dialect, writer, hub.touch)
        self.session: LiveSession | None = None
        self._early: list[str] | None = None  # frames that wait for the answer to a resume
        self._closed = False
        self.active_at = hub.now()
        hub.enter(self)

    def begin_joining(self) -> None:
        """A resume is under way: what the client's next frames mean depends on its answer."""
        self._early = []

    def end_joining(self) -> None:
        """It has its answer."""
        early, self._early = self._early, None
        for text in early or ():
            self.on_text(text)  # which may be another resume

    def on_text(self, text: str) -> None:
        """A text frame came."""
        self.active_at = self.hub.now()
        if self._closed:
            return
        if self._early is None:
            self._act(text)
        elif len(self._early) < MOST_EARLY:
            self._early.append(text)
        else:
            self.close(OVERLOADED, "too many frames before the session is there")

    def close(self, code: int, reason: str) -> None:
        """End the connection behind what was said. What the client sends after that is not heard."""
        self._closed = True
        self.outbox.flush(self.hub.now())
        self.outbox.writer.close(code, reason)

    def _act(self, text: str) -> None:
        for action in self.dialect.receive(text):
            match action:
                case Ask():
                    self.hub.ask(self, action)
                case Say(payload):
                    self.outbox.put([payload])
                case Begin(system, model):
                    self.hub.begin(self, system, model)
                case Resume(session, after):
                    self.hub.resume(self, session, after)
                case Stop(id):
                    self.hub.stop(self, id)
                case Close(code, reason):
                    self.close(code, reason)

    def on_gone(self) -> None:
        """The connection has ended. Nothing is cancelled by that."""
        self.hub.leave(self)

    def on_drained(self) -> None:
        """The socket has room again."""
        self.outbox.blocked_at = None
        self.hub.paging.go_on(self)
