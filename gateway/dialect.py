"""What a dialect is: a client's frames in, actions out; what the service has to say in, frames out. No I/O."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from shared.errors import ChatError
from shared.messages import Cursor, Item
from shared.request import Params, Turn


class Say(NamedTuple):
    """Answer the client at once."""

    payload: bytes


class Close(NamedTuple):
    """End the connection."""

    code: int
    reason: str


class Begin(NamedTuple):
    """Make a new session."""

    system: str | None
    model: str | None


class Resume(NamedTuple):
    """Attach to a session that exists."""

    session: str
    after: Cursor | None


class Ask(NamedTuple):
    """Get a reply to a message, in a session that is begun first if need be.

    `context`: turns that go before `content`, in place of the session's own (None); `content` may be empty then.
    `meta`: what is kept with the message for the interface by which it came. `stored`: whether the history keeps it.
    """

    id: str
    content: str
    model: str | None = None
    params: Params = Params()
    context: tuple[Turn, ...] | None = None
    meta: Mapping[str, Any] = MappingProxyType({})
    stored: bool = True


class Stop(NamedTuple):
    """Cancel a reply."""

    id: str


Action = Say | Close | Begin | Resume | Ask | Stop


class Dialect(Protocol):
    """One per connection. Every method but `receive` returns the payloads of text frames."""

    def receive(self, text: str) -> Sequence[Action]:
        """What a client's text frame asks for."""
        ...

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """The connection has its session."""
        ...

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """Events of the session are gone. `pending`: a reply was under way, or not all of one was written."""
        ...

    def not_joined(self, error: ChatError) -> list[bytes]:
        """Begin or Resume failed; both may be tried again."""
        ...

    def accepted(self, id: str, place: int) -> list[bytes]:
        """The message is in the broker; `place` messages go first."""
        ...

    def queued(self, id: str, place: int) -> list[bytes]:
        """Its place has changed."""
        ...

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """A request was refused, nothing was accepted."""
        ...

    def events(self, item: Item, skip: int) -> list[bytes]:
        """The events of an item, without the first `skip` of them."""
        ...

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        """This gateway is about to stop."""
        ...

    def farewell(self, error: ChatError) -> list[bytes]:
        """The connection ends now, for this reason. Sockets have close codes for that; responses end themselves."""
        ...
