"""One client's connection: from its frames to the hub, from the hub to its outbox."""

import asyncio
from typing import TYPE_CHECKING

from gateway.dialect import Ask, Begin, Close, Dialect, Resume, Say, Stop
from gateway.outbox import Outbox, Writer

if TYPE_CHECKING:
    from gateway.hub import Hub
    from gateway.live import LiveSession


class Connection:
    """Input comes by callback (`on_text`), so that an endpoint may but need not be a loop."""

    __slots__ = ("_joining", "active_at", "dialect", "hub", "outbox", "session")

    def __init__(self, hub: "Hub", dialect: Dialect, writer: Writer) -> None:
        self.hub = hub
        self.dialect = dialect
        self.outbox = Outbox(dialect, writer, hub.touch)
        self.session: LiveSession | None = None
        self._joining: asyncio.Future[None] | None = None
        self.active_at = hub.now()
        writer.on_drained = self._on_drained
        hub.enter(self)

    async def settled(self) -> None:
        """Return once a resume has its answer: the client's next frame depends on it."""
        if self._joining is not None:
            await self._joining

    def begin_joining(self) -> None:
        """A resume is under way."""
        self._joining = asyncio.get_running_loop().create_future()

    def end_joining(self) -> None:
        """It has its answer."""
        joining, self._joining = self._joining, None
        if joining is not None and not joining.done():
            joining.set_result(None)

    def on_text(self, text: str) -> None:
        """A text frame came."""
        self.active_at = self.hub.now()
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
                    self.outbox.writer.close(code, reason)

    def on_gone(self) -> None:
        """The connection has ended. Nothing is cancelled by that."""
        self.hub.leave(self)

    def _on_drained(self) -> None:
        self.outbox.blocked_at = None
        self.hub.caught_room(self)
