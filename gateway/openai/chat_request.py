"""A body of POST /v1/chat/completions, read: what is asked of the engine, and how it is to be told."""

from typing import Any, Literal, NamedTuple

import msgspec

from gateway.openai.content import Content, text_of
from gateway.openai.problem import invalid, unsupported
from gateway.openai.sampling import Seed, Temperature, Tokens, TopP, decoded, is_text, stops
from shared.request import Params, Turn

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
NAMES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class ChatMessage(msgspec.Struct):
    role: Role
    content: Content = None
    tool_calls: list[Any] | None = None
    function_call: Any = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatCompletionBody(msgspec.Struct):
    messages: list[ChatMessage]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stop: str | list[str] | None = None
    seed: Seed | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    audio: Any = None
    modalities: list[str] | None = None
    web_search_options: Any = None
    background: bool | None = None
    metadata: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(ChatCompletionBody)


class ChatRequest(NamedTuple):
    """`turns` is the whole context, at least one. `background`: it goes on when its client has gone."""

    turns: tuple[Turn, ...]
    model: str | None
    params: Params
    stream: bool
    include_usage: bool
    background: bool


def read_chat(data: bytes) -> ChatRequest:
    """Raises Refused, which names what is wrong or not supported."""
    body = decoded(_decoder, data)
    _check(body)
    params = Params(
        body.temperature,
        body.max_completion_tokens or body.max_tokens,
        body.top_p,
        stops(body.stop),
        body.seed,
    )
    stream = bool(body.stream)
    usage = stream and body.stream_options is not None and bool(body.stream_options.include_usage)
    return ChatRequest(_turns(body.messages), body.model, params, stream, usage, _background(body))


def _check(body: ChatCompletionBody) -> None:
    if body.n is not None and body.n != 1:
        raise unsupported("More than one choice is" if body.n > 1 else "A number of choices below one is", "n")
    for name in ("tools", "functions"):
        if getattr(body, name):
            raise unsupported("Tools are", name)
    if not is_text(body.response_format):
        raise unsupported("An output format other than text is", "response_format")
    if body.logprobs:
        raise unsupported("Log probabilities are", "logprobs")
    if body.audio is not None or "audio" in (body.modalities or ()):
        raise unsupported("Audio is", "audio" if body.audio is not None else "modalities")
    if body.web_search_options is not None:
        raise unsupported("Web search is", "web_search_options")


def _background(body: ChatCompletionBody) -> bool:
    """As a field, or in the metadata, which more clients let their users set."""
    if body.background is not None:
        return body.background
    return (body.metadata or {}).get("background") in (True, "true")


def _turns(messages: list[ChatMessage]) -> tuple[Turn, ...]:
    if not messages:
        raise invalid("There must be at least one message.", "messages")
    found = [turn for number, message in enumerate(messages) if (turn := _turn(message, f"messages[{number}]"))]
    if not found:
        raise invalid("No message has any text.", "messages")
    return tuple(found)


def _turn(message: ChatMessage, param: str) -> Turn | None:
    """None for an empty one, which says nothing to a model; a user's must not be empty."""
    if message.role in ("tool", "function"):
        raise unsupported("Messages of tools are", f"{param}.role")
    if message.tool_calls or message.function_call is not None:
        raise unsupported("Calls of tools are", f"{param}.tool_calls")
    text = text_of(message.content, f"{param}.content")
    if not text and message.role == "user":
        raise invalid("A user's message must not be empty.", f"{param}.content")
    return Turn(NAMES[message.role], text) if text else None
