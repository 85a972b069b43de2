"""What the store keeps, as frozen structs. Times are milliseconds since 1970."""

from typing import Any, Literal, NamedTuple

import msgspec

from shared.messages import Cursor, Done, Failed
from shared.request import Params, Turn

Status = Literal["open", "done", "error"]


class StoredSession(msgspec.Struct, frozen=True, array_like=True):
    """A session, without its turns. `title` is for people; `meta` is for whoever made the session (JSON)."""

    id: str
    owner: str
    title: str = ""
    system: str | None = None
    model: str | None = None
    created_ms: int = 0
    updated_ms: int = 0  # of the newest message; exact to 10 s
    meta: dict[str, Any] = {}


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What the user sent. `id` is the client's own, unique in the session; `meta` is for the interface by which it came
    (JSON): the store only keeps it."""

    session: str
    id: str
    content: str
    model: str | None = None
    params: Params = Params()
    asked_ms: int = 0
    meta: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A generation that has its terminal, which is `end` and stands at `seq` of this attempt. `text` is the reply as a
    reader of the stream holds it, also of one that ended in an error."""

    session: str
    id: str  # of the message that it answers
    generation: int
    attempt: int
    seq: int
    nonce: str
    text: str
    end: Done | Failed
    model: str | None = None
    ended_ms: int = 0

    @property
    def cursor(self) -> Cursor:
        """Where its terminal stands."""
        return Cursor(self.generation, self.attempt, self.seq, self.nonce)


class Exchange(NamedTuple):
    """What a turn gives to the context of later ones: only a turn that is `done`, and has a text, does."""

    content: str
    text: str

    @property
    def turns(self) -> tuple[Turn, Turn]:
        """As a model reads it."""
        return Turn("user", self.content), Turn("assistant", self.text)


class StoredTurn(msgspec.Struct, frozen=True):
    """A message and its answer; `answer` is None while the turn is open: queued, running, or lost with the broker's
    memory. `number` grows with the order in which messages were stored."""

    question: Question
    answer: Answer | None = None
    number: int = 0

    @property
    def status(self) -> Status:
        """Open, or how it ended: `done` is any finish reason, cancelled included."""
        if self.answer is None:
            return "open"
        return "done" if isinstance(self.answer.end, Done) else "error"

    @property
    def exchange(self) -> Exchange | None:
        """What it gives to the context of later turns."""
        answer = self.answer
        if answer is None or not isinstance(answer.end, Done) or not answer.text:
            return None
        return Exchange(self.question.content, answer.text)


class Place(NamedTuple):
    """Where a page of sessions ends: the next one begins behind it."""

    updated_ms: int
    id: str


class SessionPage(msgspec.Struct, frozen=True):
    """Sessions, the newest first. `next`: where the next page begins; None: this is the last one."""

    sessions: list[StoredSession]
    next: Place | None = None
