"""A reply as a response: its events, each with its `sequence_number`, or the whole. Pure.

The numbers follow from the session's events alone: created, in_progress, then the item and its part with `started`, one
for each delta, and those of the end. So every gateway process counts alike, whenever it begins to.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gateway.openai.problem import Problem, problem_named, restarted
from gateway.openai.response import QUEUED, RUNNING, Head, Outcome, output_item, response_object, text_part
from gateway.openai.response_id import ResponseId
from shared.messages import Delta, Done, Event, Failed, Started, Takeover

_encode = msgspec.json.Encoder().encode
Render = Callable[[dict[str, Any]], bytes]


def named_frame(event: dict[str, Any]) -> bytes:
    """A server-sent event, as Responses have them: under its name."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _encode(event))


def end_of(event: Done | Failed, text: str) -> Outcome:
    """How a reply ended whose text is `text`."""
    if isinstance(event, Failed):
        problem = problem_named(event.code, event.message, event.retryable)
        return Outcome("failed", text, error=problem)
    usage, total = event.usage, event.timing.total_ms
    match event.finish_reason:
        case "length":
            return Outcome("incomplete", text, usage, "max_output_tokens", total_ms=total)
        case "cancelled":
            return Outcome("cancelled", text, usage, total_ms=total)
    return Outcome("completed", text, usage, total_ms=total)


class ResponseStream:
    """See gateway.openai.form.ReplyForm. Events up to the sequence number `after` are counted, but not said."""

    def __init__(self, id: ResponseId, head: Head, render: Render = named_frame, after: int = -1) -> None:
        self.problem: Problem | None = None
        self.ended = False
        self.begun = False  # it was accepted
        self.outcome = QUEUED
        self._id = id
        self._head = head
        self._render = render
        self._after = after
        self._next = 0
        self._pieces: list[str] = []
        self._open = False  # the item and its part are there

    def accepted(self) -> list[bytes]:
        """See ReplyForm."""
        if self.begun:
            return []
        self.begun = True
        first = QUEUED if self._head.background else RUNNING
        created = self._say("response.created", response=self._object(first))
        return list(filter(None, [created, self._say("response.in_progress", response=self._object(RUNNING))]))

    def event(self, event: Event) -> list[bytes]:
        """See ReplyForm."""
        return [*self.accepted(), *filter(None, self._event(event))]

    def fail(self, problem: Problem) -> list[bytes]:
        """See ReplyForm. Where it was not even accepted there is no stream: whoever asked says it otherwise."""
        self.problem = problem
        if not self.begun:
            self.ended = True
            return []
        return list(filter(None, self._end(Outcome("failed", "".join(self._pieces), error=problem))))

    def cut(self, problem: Problem) -> list[bytes]:
        """See ReplyForm. The error is no event of the response: it has no number, and that of the next one is free."""
        self.problem, self.ended = problem, True
        return [self._render({"type": "error", "status": problem.status, **problem.body()})] if self.begun else []

    def _event(self, event: Event) -> Iterator[bytes]:
        match event:
            case Started():
                yield from self._begin()
            case Delta(text):
                yield from self._begin()
                self._pieces.append(text)
                yield self._say("response.output_text.delta", **self._part(), delta=text, logprobs=[])
            case Takeover(exact) if not exact and self._pieces:
                yield from self.fail(restarted())
            case Done() | Failed():
                yield from self._end(end_of(event, "".join(self._pieces)))

    def _begin(self) -> Iterator[bytes]:
        if self._open:
            return
        self._open = True
        self.outcome = RUNNING
        item = output_item(self._id, "in_progress", None)
        yield self._say("response.output_item.added", output_index=0, item=item)
        yield self._say("response.content_part.added", **self._part(), part=text_part(""))

    def _end(self, outcome: Outcome) -> Iterator[bytes]:
        self.ended, self.outcome = True, outcome
        if outcome.status != "failed":
            yield from self._begin()
            self.outcome = outcome
            yield from self._close(outcome)
        yield self._say(_TERMINALS[outcome.status], response=self._object(outcome))

    def _close(self, outcome: Outcome) -> Iterator[bytes]:
        text = outcome.text
        status = "completed" if outcome.status == "completed" else "incomplete"
        yield self._say("response.output_text.done", **self._part(), text=text, logprobs=[])
        yield self._say("response.content_part.done", **self._part(), part=text_part(text))
        yield self._say("response.output_item.done", output_index=0, item=output_item(self._id, status, text))

    def _part(self) -> dict[str, Any]:
        return {"item_id": self._id.item, "output_index": 0, "content_index": 0}

    def _object(self, outcome: Outcome) -> dict[str, Any]:
        return response_object(self._id, self._head, outcome)

    def _say(self, type: str, **fields: Any) -> bytes:
        number, self._next = self._next, self._next + 1
        if number <= self._after:
            return b""
        return self._render({"type": type, "sequence_number": number, **fields})


_TERMINALS = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "cancelled": "response.incomplete",  # there is no event of that name
    "failed": "response.failed",
}


class ResponseWhole:
    """See ReplyForm. Says nothing, but has an `outcome`: how far the reply is. A takeover, exact or not, is nothing
    that its reader could see. `accepted_is_all`: more than that is not waited for."""

    def __init__(self, *, accepted_is_all: bool = False) -> None:
        self._accepted_is_all = accepted_is_all
        self.problem: Problem | None = None
        self.ended = False
        self.outcome = QUEUED
        self._pieces: list[str] = []

    def accepted(self) -> list[bytes]:
        """See ReplyForm."""
        self.ended = self._accepted_is_all
        return []

    def event(self, event: Event) -> list[bytes]:
        """See ReplyForm."""
        match event:
            case Started():
                self.outcome = RUNNING
            case Delta(text):
                self._pieces.append(text)
            case Takeover(exact) if not exact:
                self._pieces.clear()
            case Done() | Failed():
                self.ended = True
                self.outcome = end_of(event, "".join(self._pieces))
        return []

    def fail(self, problem: Problem) -> list[bytes]:
        """See ReplyForm."""
        self.problem, self.ended = problem, True
        self.outcome = Outcome("failed", "".join(self._pieces), error=problem)
        return []

    def cut(self, problem: Problem) -> list[bytes]:
        """See ReplyForm."""
        self.problem, self.ended = problem, True
        return []
