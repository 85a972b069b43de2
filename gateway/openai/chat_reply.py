"""A reply as chat completions show it: as a stream of chunks, or as one whole. Pure: events in, bytes out."""

from typing import Any

import msgspec

from gateway.openai.problem import Problem, cancelled, problem_named, restarted
from shared.messages import Delta, Done, Event, Failed, Started, Takeover, Usage

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"


class Identity(msgspec.Struct, frozen=True):
    """What every chunk of a reply repeats. `created`: seconds since 1970."""

    id: str
    created: int
    model: str


def frame(payload: Any) -> bytes:
    """A server-sent event, as chat completions have them: without a name."""
    return b"data: " + _encode(payload) + b"\n\n"


class ChatStream:
    """See gateway.openai.form.ReplyForm. Says nothing before the first piece of text: until then a failure can still be
    an HTTP status."""

    def __init__(self, identity: Identity, *, include_usage: bool) -> None:
        self.problem: Problem | None = None
        self.ended = False
        self.begun = False  # something has been said
        self._model = identity.model
        self._base: dict[str, Any] = {"id": identity.id, "object": "chat.completion.chunk", "created": identity.created}
        self._usage = include_usage

    def accepted(self) -> list[bytes]:
        """See ReplyForm."""
        return []

    def event(self, event: Event) -> list[bytes]:
        """See ReplyForm."""
        match event:
            case Started(model):
                self._model = model
            case Delta(text):
                return [*self._begin(), self._chunk({"content": text}, None)]
            case Takeover(exact) if not exact and self.begun:
                return self.fail(restarted())
            case Done(reason, usage) if reason != "cancelled":
                return self._end(reason, usage)
            case Done():
                return self.fail(cancelled())
            case Failed(code, message, retryable):
                return self.fail(problem_named(code, message, retryable))
        return []

    def fail(self, problem: Problem) -> list[bytes]:
        """See ReplyForm. No [DONE] follows: whoever overlooks the error shall not take the reply for complete."""
        self.problem, self.ended = problem, True
        return [frame(problem.body())]

    def cut(self, problem: Problem) -> list[bytes]:
        """See ReplyForm. Nobody could follow it elsewhere."""
        return self.fail(problem)

    def _begin(self) -> list[bytes]:
        if self.begun:
            return []
        self.begun = True
        return [self._chunk({"role": "assistant", "content": "", "refusal": None}, None)]

    def _end(self, reason: str, usage: Usage) -> list[bytes]:
        self.ended = True
        said = [*self._begin(), self._chunk({}, reason)]
        if self._usage:
            said.append(frame({**self._base, "model": self._model, "choices": [], "usage": tokens(usage)}))
        return [*said, DONE]

    def _chunk(self, delta: dict[str, Any], reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {**self._base, "model": self._model, "choices": [choice]}
        return frame({**chunk, "usage": None} if self._usage else chunk)


class ChatWhole:
    """See gateway.openai.form.ReplyForm. Says the whole body at the end, or has a `problem`. A takeover, exact or not,
    is nothing that its reader could see."""

    def __init__(self, identity: Identity) -> None:
        self.problem: Problem | None = None
        self.ended = False
        self._identity = identity
        self._model = identity.model
        self._pieces: list[str] = []

    def accepted(self) -> list[bytes]:
        """See ReplyForm."""
        return []

    def event(self, event: Event) -> list[bytes]:
        """See ReplyForm."""
        match event:
            case Started(model):
                self._model = model
            case Delta(text):
                self._pieces.append(text)
            case Takeover(exact) if not exact:
                self._pieces.clear()
            case Done(reason, usage) if reason != "cancelled":
                self.ended = True
                return [_encode(self._body(reason, usage))]
            case Done():
                return self.fail(cancelled())
            case Failed(code, message, retryable):
                return self.fail(problem_named(code, message, retryable))
        return []

    def fail(self, problem: Problem) -> list[bytes]:
        """See ReplyForm."""
        self.problem, self.ended = problem, True
        return [_encode(problem.body())]

    def cut(self, problem: Problem) -> list[bytes]:
        """See ReplyForm."""
        return self.fail(problem)

    def _body(self, reason: str, usage: Usage) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._pieces),
            "refusal": None,
            "annotations": [],
        }
        return {
            "id": self._identity.id,
            "object": "chat.completion",
            "created": self._identity.created,
            "model": self._model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
            "usage": tokens(usage),
        }


def tokens(usage: Usage) -> dict[str, int]:
    """Usage as chat completions count it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
