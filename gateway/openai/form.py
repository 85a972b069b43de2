"""What turns one reply into what some client reads: a dialect of the hub around something that only knows events."""

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.dialect import Action
from gateway.openai.problem import Problem, lost, problem_of
from shared.errors import ChatError
from shared.messages import Event, Item, decode_events

END = b""  # the payload that ends a response; see gateway.streams


class ReplyForm(Protocol):
    """One reply in the form that some interface gives it. Every method returns the payloads to be sent; after the one
    that `ended` it none is called. `problem`: why there is no reply, or no whole one."""

    problem: Problem | None
    ended: bool

    def accepted(self) -> list[bytes]:
        """The message is in the broker."""
        ...

    def event(self, event: Event) -> list[bytes]:
        """The next event."""
        ...

    def fail(self, problem: Problem) -> list[bytes]:
        """There is no reply, or no more of it."""
        ...

    def cut(self, problem: Problem) -> list[bytes]:
        """There is no more of it here, though it may go on."""
        ...


class ReplyDialect:
    """See gateway.dialect.Dialect. Hears of the message `id` only. `form` may be set later, but before anything is
    asked. `on_joined` is called when there is a session."""

    def __init__(self, id: str, form: ReplyForm | None = None) -> None:
        self.id = id
        self.on_joined: Callable[[], object] | None = None
        self._form = form

    @staticmethod
    def new() -> "ReplyDialect":
        """For a message with an id of its own."""
        return ReplyDialect(f"r_{secrets.token_hex(8)}")

    @property
    def form(self) -> ReplyForm:
        """What the reply is turned into."""
        assert self._form is not None
        return self._form

    @form.setter
    def form(self, form: ReplyForm) -> None:
        self._form = form

    def receive(self, text: str) -> Sequence[Action]:
        """Nothing comes this way: a request has been read before its connection is made."""
        return ()

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        if self.on_joined is not None:
            self.on_joined()  # what was before is not of its reply
            return []
        return [] if recovered else self._fail(lost())

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        return self._fail(lost())

    def not_joined(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return self._fail(problem_of(error))

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return self._hear(self.form.accepted) if id == self.id else []

    def queued(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return []

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return self._fail(problem_of(error)) if id in (self.id, None) else []

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        if item.id != self.id:
            return []
        said: list[bytes] = []
        for event in decode_events(item.events)[skip:]:
            if not self.form.ended:
                said += self.form.event(event)
                said += [END] if self.form.ended else []
        return said

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        """See Dialect."""
        return []

    def farewell(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return self._hear(lambda: self.form.cut(problem_of(error)))

    def _fail(self, problem: Problem) -> list[bytes]:
        return self._hear(lambda: self.form.fail(problem))

    def _hear(self, tell: Callable[[], list[bytes]]) -> list[bytes]:
        if self.form.ended:
            return []
        said = tell()
        return [*said, END] if self.form.ended else said
