"""The plain dialect, that of wscat and of the browser console: a text frame is a message, a chunk is a text frame."""

from collections.abc import Sequence

from gateway.dialect import Action, Ask, Begin, Say
from shared.errors import ChatError, InvalidMessage
from shared.messages import Delta, Done, Failed, Item, Takeover, decode_events

RESTARTED = b"error: restarted: The reply was interrupted and starts again from its beginning."
LOST = b"error: lost: The service lost what was under way; send your message again."


class PlainDialect:
    """One connection's side. It numbers its messages itself."""

    __slots__ = ("_begun", "_count")

    def __init__(self) -> None:
        self._begun = False
        self._count = 0

    def receive(self, text: str) -> Sequence[Action]:
        """See Dialect."""
        if not text:
            return [Say(_error(InvalidMessage("The message is empty.")))]
        self._count += 1
        ask = Ask(str(self._count), text)
        if self._begun:
            return [ask]
        self._begun = True
        return [Begin(None, None), ask]

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect. There is no greeting."""
        return []

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect. Where nothing was under way nothing is missed."""
        return [LOST] if pending else []

    def not_joined(self, error: ChatError) -> list[bytes]:
        """See Dialect. The message that began the session is refused by itself."""
        self._begun = False
        return []

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return []

    def queued(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return []

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return [_error(error)]

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect. A frame boundary stands for a line break, so one newline at the start of a delta is not sent."""
        payloads = []
        events = decode_events(item.events)
        for event in events[skip:] if skip else events:
            if type(event) is Delta:
                text = event.text.removeprefix("\n")
                if text:
                    payloads.append(text.encode())
            elif isinstance(event, Takeover) and not event.exact:
                payloads.append(RESTARTED)
            elif isinstance(event, Failed):
                payloads.append(f"error: {event.code}: {event.message}".encode())
            elif isinstance(event, Done) and item.index < 0:  # from the history: its text was never shown
                payloads.append(LOST)
        return payloads

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        """See Dialect."""
        return []

    def farewell(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return []


def _error(error: ChatError) -> bytes:
    return f"error: {error.code}: {error.message}".encode()
