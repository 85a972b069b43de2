"""A reply as parts of the AI SDK's UI message stream, version 1 (ai-sdk.dev/docs/ai-sdk-ui/stream-protocol)."""

from collections.abc import Sequence

import msgspec

from gateway.refusals import Stopping
from gateway.rest.dialects import STEP, HttpDialect
from gateway.streams import END
from shared.errors import ChatError
from shared.messages import Delta, Done, Failed, Item, Started, Takeover, decode_events

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
DONE = b"data: [DONE]\n\n"
LOST = "The service has lost this reply."
RESTARTED = "The reply was begun anew by another worker, and text cannot be taken back here; ask again."
STOPPING = "This gateway is about to stop; resume the stream."
_TEXT = "text-1"
_encode = msgspec.json.Encoder().encode


def part(type: str, **fields: str) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % _encode({"type": type, **fields})


class UiMessage(HttpDialect):
    """One reply: that to the message `id`, or else the one that is under way. `settled`: the stream may begin; what is
    refused before that is no stream."""

    def __init__(self, id: str | None) -> None:
        super().__init__()
        self.settled = False
        self._id = id
        self._begun = False
        self._texting = False

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        super().joined(session, resumed=resumed, recovered=recovered, open=open)
        if self._id is None:
            if not open:
                return [STEP, END]
            self._id = open[0]
            return self._begin()
        self.settled = bool(open) and self._id not in open  # it waits in the line
        return [STEP]

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return self._begin()

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect. What was not accepted is submitted again."""
        return self._fail(LOST) if self._begun and pending else []

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return [*(self._fail(error.message) if self.settled else ()), *self.fail(error)]

    def farewell(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        sentence = STOPPING if isinstance(error, Stopping) else error.message
        return [part("error", errorText=sentence), *super().farewell(error)]

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        if item.id != self._id:
            return []
        said = self._begin()
        for event in decode_events(item.events)[skip:]:
            said += self._event(event)
        return said

    def _event(self, event: Started | Delta | Takeover | Done | Failed) -> list[bytes]:
        match event:
            case Delta(text):
                return [*self._begin_text(), part("text-delta", id=_TEXT, delta=text)]
            case Takeover(exact) if not exact and self._texting:
                return self._fail(RESTARTED)
            case Done("cancelled"):
                return [*self._end_text(), part("abort", reason="cancelled"), DONE, END]
            case Done(reason):
                return [*self._end_text(), part("finish-step"), part("finish", finishReason=reason), DONE, END]
            case Failed(_, message):
                return self._fail(message)
        return []

    def _begin(self) -> list[bytes]:
        if self._begun:
            return []
        self._begun = self.settled = True
        return [part("start", messageId=reply_id(self._id or "")), part("start-step")]

    def _begin_text(self) -> list[bytes]:
        begins, self._texting = not self._texting, True
        return [part("text-start", id=_TEXT)] if begins else []

    def _end_text(self) -> list[bytes]:
        return [part("text-end", id=_TEXT)] if self._texting else []

    def _fail(self, sentence: str) -> list[bytes]:
        return [part("error", errorText=sentence), DONE, END]


def reply_id(id: str) -> str:
    """The id of the assistant's message that answers a user's: the same again when the stream is resumed."""
    return f"reply-{id}"
