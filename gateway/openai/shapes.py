"""The JSON of /v1's answers, for those who read the description of the interface. The mappings make it; tests hold that
both agree."""

from typing import Any, Literal

import msgspec


class ErrorDetails(msgspec.Struct):
    """What went wrong. `param`: the field."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct):
    """An error, as OpenAI gives it."""

    error: ErrorDetails


class Model(msgspec.Struct):
    """A model that may be named."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(msgspec.Struct):
    """All of them."""

    object: Literal["list"]
    data: list[Model]


class ReplyMessage(msgspec.Struct):
    """What the assistant says."""

    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[Any]


class Choice(msgspec.Struct):
    """The only one."""

    index: int
    message: ReplyMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatUsage(msgspec.Struct):
    """In tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(msgspec.Struct):
    """A whole reply."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage


class ContentPart(msgspec.Struct):
    """Text that was put in or out."""

    type: Literal["input_text", "output_text"]
    text: str


class MessageItem(msgspec.Struct):
    """A message that was put in or out."""

    id: str
    type: Literal["message"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["system", "user", "assistant"]
    content: list[ContentPart]


class ItemList(msgspec.Struct):
    """What was put in, newest first."""

    object: Literal["list"]
    data: list[MessageItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponseObject(msgspec.Struct):
    """A response. Fields that are not named here have OpenAI's defaults."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"]
    background: bool
    completed_at: int | None
    error: dict[str, str] | None
    incomplete_details: dict[str, str] | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[MessageItem]
    previous_response_id: str | None
    store: bool
    temperature: float
    top_p: float
    usage: dict[str, Any] | None


class Deleted(msgspec.Struct):
    """It is not found any more."""

    id: str
    object: Literal["response"]
    deleted: bool
