"""A body of POST /v1/responses (or a `response.create` of its WebSocket mode), read."""

from typing import Any, Literal, NamedTuple

import msgspec

from gateway.openai.chat_request import NAMES
from gateway.openai.content import Content, text_of
from gateway.openai.problem import invalid, unsupported
from gateway.openai.sampling import Metadata, Temperature, Tokens, TopP, decoded, is_text
from shared.request import Params, Turn

MOST_METADATA = 16


class InputItem(msgspec.Struct):
    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Content = None
    id: str | None = None


class TextOptions(msgspec.Struct):
    format: dict[str, Any] | None = None


class ResponseBody(msgspec.Struct):
    input: str | list[InputItem] | None = None
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: Tokens | None = None
    metadata: Metadata | None = None
    tools: list[Any] | None = None
    text: TextOptions | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    conversation: Any = None
    prompt: Any = None
    moderation: Any = None
    generate: bool | None = None
    stream_id: str | None = None


_decoder = msgspec.json.Decoder(ResponseBody)


class ResponseRequest(NamedTuple):
    """`input` is what is new, behind the conversation that `previous` (a response's id) ends. `generate` and `lane` are
    of the WebSocket mode: false asks for no reply yet; replies of one lane come one after the other."""

    input: tuple[Turn, ...]
    model: str | None = None
    instructions: str | None = None
    previous: str | None = None
    params: Params = Params()
    metadata: dict[str, str] = {}  # noqa: RUF012  # nobody changes it
    stream: bool = False
    background: bool = False
    store: bool = True
    generate: bool = True
    lane: str | None = None


def read_response(data: bytes) -> ResponseRequest:
    """Raises Refused, which names what is wrong or not supported."""
    body = decoded(_decoder, data)
    _check(body)
    background, store = bool(body.background), body.store is not False
    if background and not store:
        raise invalid("What runs in the background must be stored.", "store")
    return ResponseRequest(
        _input(body.input),
        body.model,
        body.instructions or None,
        body.previous_response_id,
        Params(body.temperature, body.max_output_tokens, body.top_p),
        body.metadata or {},
        bool(body.stream),
        background,
        store,
        body.generate is not False,
        body.stream_id,
    )


def _check(body: ResponseBody) -> None:
    for name, what in (
        ("tools", "Tools are"),
        ("conversation", "Conversations are"),
        ("prompt", "Stored prompts are"),
        ("moderation", "Moderation is"),
    ):
        if getattr(body, name):
            raise unsupported(what, name)
    if body.text is not None and not is_text(body.text.format):
        raise unsupported("An output format other than text is", "text.format")
    if body.top_logprobs or "message.output_text.logprobs" in (body.include or ()):
        raise unsupported("Log probabilities are", "top_logprobs" if body.top_logprobs else "include")
    if len(body.metadata or {}) > MOST_METADATA:
        raise invalid(f"There may be at most {MOST_METADATA} entries.", "metadata")


def _input(given: str | list[InputItem] | None) -> tuple[Turn, ...]:
    if not given:
        raise invalid("There must be an input, and it must not be empty.", "input", "missing_required_parameter")
    if isinstance(given, str):
        return (Turn("user", given),)
    found = [turn for number, item in enumerate(given) if (turn := _turn(item, f"input[{number}]"))]
    if not found:
        raise invalid("No message has any text.", "input")
    return tuple(found)


def _turn(item: InputItem, param: str) -> Turn | None:
    """None for what says nothing to a model here."""
    if item.type == "reasoning":  # clients send back what a response held, that of other services included
        return None
    if item.type != "message":
        raise unsupported(f"Items of the type {item.type[:64]!r} are", f"{param}.type")
    if item.role is None:
        raise invalid("The field 'role' is missing.", f"{param}.role")
    text = text_of(item.content, f"{param}.content")
    if not text and item.role == "user":
        raise invalid("A user's message must not be empty.", f"{param}.content")
    return Turn(NAMES[item.role], text) if text else None
