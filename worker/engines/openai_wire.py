"""OpenAI's chat completions as bytes: what we ask, what a stream says, what a refusal means. No I/O.

https://platform.openai.com/docs/api-reference/chat. Only the fields that we need; servers differ in all others.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from shared.errors import ChatError, EngineError, EngineUnavailable, PromptTooLong
from shared.messages import Usage
from shared.request import Turn
from worker.engines.base import Job

DONE = b"[DONE]"
LATE = "The model server took too long to begin its reply."
SILENT = "The model server fell silent in mid-reply."
BROKE_OFF = "The model server broke off its reply."
MISFORMED = "The model server sent something that is not a chat stream."
FILTERED = "The model server's content filter ended the reply."
REFUSED = "The model server refused the request."
UNAUTHORISED = "The model server refused our credentials."
UNKNOWN_MODEL = "The model server does not know this model, or offers no chat."
OVERLOADED = "The model server has too much to do; try again later."
FAILED = "The model server has a fault of its own."
AWAY = "The model server is not ready; try again later."

_BUSY = 429
_PASSING = (502, 503, 504)  # such a refusal says nothing of the request


# --- what we ask ----------------------------------------------------------------------------------------------------


class Dialect(NamedTuple):
    """Where servers disagree. Begins as what most take and is adapted once a server complains."""

    usage: bool = True  # whether it may be asked for usage
    limit: str = "max_tokens"  # what it calls the most tokens to make; OpenAI's reasoning models want the other name
    counts: bool = False  # whether it may be asked for usage with every chunk, as vLLM can; others pass over that

    def adapted(self, complaint: "Complaint") -> "Dialect":
        """What to speak after a complaint; itself where that has nothing to do with it."""
        if self.counts and complaint.mentions("continuous_usage_stats"):
            return self._replace(counts=False)
        if self.usage and complaint.mentions("stream_options", "include_usage"):
            return self._replace(usage=False)
        if self.limit == complaint.param == "max_tokens" and complaint.mentions("max_completion_tokens"):
            return self._replace(limit="max_completion_tokens")
        return self


def body(job: Job, model: str, dialect: Dialect) -> bytes:
    """The body of POST /chat/completions."""
    params = job.request.params
    wanted: dict[str, Any] = {
        "model": model,
        "messages": job.request.turns,
        "stream": True,
        "stream_options": _stream_options(dialect),
        "temperature": params.temperature,
        dialect.limit: tokens_left(job),
        "top_p": params.top_p,
        "stop": params.stop,
        "seed": params.seed,
        **_continuation(job),
    }
    return msgspec.json.encode({name: value for name, value in wanted.items() if value is not None})


def tokens_left(job: Job) -> int | None:
    """The most tokens that may still be made; None where there is no limit."""
    most = job.request.params.max_tokens
    return None if most is None else most - job.tokens


def _stream_options(dialect: Dialect) -> dict[str, bool] | None:
    if not dialect.usage:
        return None
    return {"include_usage": True, "continuous_usage_stats": True} if dialect.counts else {"include_usage": True}


def _continuation(job: Job) -> dict[str, Any]:
    """The text that stands as a partial message of the model's (never an empty one: that would be a complete one), and
    the flags without which vLLM, SGLang and llama.cpp (where its own way is switched off) would begin a new message."""
    if not job.text:
        return {}
    turns = (*job.request.turns, Turn("assistant", job.text))
    return {"messages": turns, "add_generation_prompt": False, "continue_final_message": True}


# --- what a server says when it refuses -------------------------------------------------------------------------------


class Complaint(msgspec.Struct, frozen=True):
    """An error object: OpenAI's and llama.cpp's stand below `error`, vLLM's older ones are the whole body."""

    message: Any = None
    type: Any = None
    param: Any = None
    code: Any = None

    def mentions(self, *words: str) -> bool:
        """Whether one of the words (in lower case) stands anywhere in it."""
        text = " ".join(str(field) for field in (self.message, self.type, self.param, self.code)).lower()
        return any(word in text for word in words)

    @property
    def too_long(self) -> bool:
        """Whether the prompt does not fit: told by code (OpenAI), type (llama.cpp) or in words alone (vLLM)."""
        return self.mentions("context_length_exceeded", "exceed_context_size", "context length", "context window")

    def error(self) -> ChatError:
        """What it means where no status goes with it, because the stream had begun."""
        return PromptTooLong() if self.too_long else EngineError(BROKE_OFF)


class _Body(Complaint, frozen=True):
    error_: Any = msgspec.field(default=None, name="error")
    detail: Any = None  # FastAPI's


def complaint(data: bytes) -> Complaint:
    """The error that the body of a refusal holds; whatever else it is stands as the message."""
    try:
        found = msgspec.json.decode(data, type=_Body)
    except (ValueError, RecursionError):
        return Complaint(data.decode(errors="replace"))
    inner = found.error_ if found.error_ is not None else found.detail
    if isinstance(inner, dict):
        return msgspec.convert(inner, Complaint)
    return found if inner is None else Complaint(inner)


class CannotContinue(EngineError):
    """The server refused a request that had a partial message of the model's in it, perhaps because of that."""


class Refused(Exception):
    """The server did not take the request. `passing`: the same may be taken a little later, `after` seconds from now
    if the server said so."""

    def __init__(self, error: ChatError, passing: bool = False, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.passing = passing
        self.after = after


def refused(status: int, found: Complaint, after: float | None = None) -> Refused:
    """What a status that is not a success means."""
    if status == _BUSY:
        return Refused(EngineUnavailable(OVERLOADED), True, after)
    if status in _PASSING:
        return Refused(EngineUnavailable(AWAY), True, after)
    return Refused(_error(status, found))


def _error(status: int, found: Complaint) -> ChatError:
    if found.too_long or status == 413:
        return PromptTooLong()
    if status in (401, 403):
        return EngineUnavailable(UNAUTHORISED)
    if status == 404:
        return EngineError(UNKNOWN_MODEL)
    return EngineUnavailable(FAILED) if status >= 500 else EngineError(REFUSED)


# --- what a stream says -----------------------------------------------------------------------------------------------


class _Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None  # of a reasoning model: what it answers, not what it thinks


class _Choice(msgspec.Struct, frozen=True, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    object: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Reply:
    """What a stream has said so far."""

    __slots__ = ("_told", "begun", "done", "finish_reason", "usage")

    def __init__(self) -> None:
        self.begun = False  # there was some text
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.done = False  # the server said that nothing more comes
        self._told = 0  # tokens that `tokens` has told

    @property
    def complete(self) -> bool:
        """Whether all the text has come."""
        return self.done or self.finish_reason is not None

    @property
    def reason(self) -> Literal["stop", "length"]:
        """Why a complete one ended. Raises EngineError where that was no good end."""
        if self.finish_reason == "content_filter":
            raise EngineError(FILTERED)
        if self.finish_reason in ("abort", "error"):
            raise EngineError(BROKE_OFF)
        return "length" if self.finish_reason == "length" else "stop"

    def tokens(self) -> int:
        """Those of the text that was just taken: as the server counts, else one."""
        before, self._told = self._told, self._told + 1
        if self.usage is not None:
            self._told = max(self._told, self.usage.completion_tokens)
        return self._told - before

    def take(self, data: bytes) -> str:
        """The text that an event's data brings, often none. Raises ChatError."""
        if data.strip() in (b"", DONE):
            self.done = self.done or bool(data.strip())
            return ""
        try:
            chunk = _decode_chunk(data)
        except (ValueError, RecursionError):
            raise EngineError(MISFORMED) from None
        if chunk.error is not None or chunk.object == "error":
            raise complaint(data).error()
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage) or self.usage
        return self._choice(chunk.choices[0]) if chunk.choices else ""

    def _choice(self, choice: _Choice) -> str:
        self.finish_reason = choice.finish_reason or self.finish_reason
        text = (choice.delta and choice.delta.content) or ""
        self.begun = self.begun or text != ""
        return text


def _usage(counted: _Usage) -> Usage | None:
    if counted.prompt_tokens is None or counted.completion_tokens is None:
        return None
    return Usage(counted.prompt_tokens, counted.completion_tokens, estimated=False)


# --- what models there are --------------------------------------------------------------------------------------------


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model]


def first_model(data: bytes) -> str | None:
    """The first of the models that the body of GET /models lists; None where it lists none."""
    try:
        models = msgspec.json.decode(data, type=_Models).data
    except (ValueError, RecursionError):
        return None
    return models[0].id if models else None
