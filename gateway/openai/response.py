"""A response as clients see it: a pure function of what was asked and of what became of it."""

from typing import Any, Literal, NamedTuple

import msgspec

from gateway.openai.problem import Problem
from gateway.openai.response_id import ResponseId
from shared.messages import Usage
from shared.request import Params, Turn

Status = Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"]


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a response when it begins. Kept with its message, so that every gateway process shows the same.

    `created_at`: seconds since 1970. `input`: what was new. `before`: the conversation that went before it, where that
    is not in the same session.
    """

    created_at: int
    model: str
    input: tuple[Turn, ...]
    instructions: str | None = None
    previous: str | None = None
    params: Params = Params()
    metadata: dict[str, str] = {}
    background: bool = False
    store: bool = True
    before: tuple[Turn, ...] = ()


class Outcome(NamedTuple):
    """How far it is. `reason`: why it is incomplete; `total_ms`: from its acceptance to its end."""

    status: Status
    text: str = ""
    usage: Usage | None = None
    reason: Literal["max_output_tokens"] | None = None
    error: Problem | None = None
    total_ms: int = 0


QUEUED = Outcome("queued")
RUNNING = Outcome("in_progress")


def response_object(id: ResponseId, head: Head, outcome: Outcome) -> dict[str, Any]:
    """The JSON object. Fields that mean nothing here have the values that OpenAI gives them by default."""
    params = head.params
    return {
        "id": str(id),
        "object": "response",
        "created_at": head.created_at,
        "status": outcome.status,
        "background": head.background,
        "completed_at": _completed_at(head, outcome),
        "error": _error(outcome.error),
        "incomplete_details": {"reason": outcome.reason} if outcome.reason else None,
        "instructions": head.instructions,
        "max_output_tokens": params.max_tokens,
        "max_tool_calls": None,
        "metadata": head.metadata,
        "model": head.model,
        "output": _output(id, outcome),
        "parallel_tool_calls": True,
        "previous_response_id": head.previous,
        "reasoning": {"effort": None, "summary": None},
        "store": head.store,
        "temperature": 1.0 if params.temperature is None else params.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0 if params.top_p is None else params.top_p,
        "truncation": "disabled",
        "usage": _usage(outcome.usage),
        "user": None,
    }


def output_item(id: ResponseId, status: str, text: str | None) -> dict[str, Any]:
    """The message that it puts out; without any content before its text begins."""
    content = [] if text is None else [text_part(text)]
    return {"id": id.item, "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(text: str) -> dict[str, Any]:
    """The only part of that message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def input_items(id: ResponseId, head: Head) -> dict[str, Any]:
    """The body of GET .../input_items, newest first."""
    data = [_input_item(id, number, turn) for number, turn in enumerate(head.input)]
    data.reverse()
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, **ends, "has_more": False}


def _input_item(id: ResponseId, number: int, turn: Turn) -> dict[str, Any]:
    part = text_part(turn.content) if turn.role == "assistant" else {"type": "input_text", "text": turn.content}
    item = {"id": id.input_item(number), "type": "message", "status": "completed"}
    return {**item, "role": turn.role, "content": [part]}


def _output(id: ResponseId, outcome: Outcome) -> list[dict[str, Any]]:
    if outcome.status == "completed":
        return [output_item(id, "completed", outcome.text)]
    ended = outcome.status in ("incomplete", "cancelled", "failed")
    return [output_item(id, "incomplete", outcome.text)] if ended and outcome.text else []


def _completed_at(head: Head, outcome: Outcome) -> int | None:
    return head.created_at + round(outcome.total_ms / 1000) if outcome.status == "completed" else None


def _error(problem: Problem | None) -> dict[str, str] | None:
    """Clients know but a few codes here."""
    if problem is None:
        return None
    codes = {"context_length_exceeded": "invalid_prompt", "rate_limit_exceeded": "rate_limit_exceeded"}
    return {"code": codes.get(problem.code or "", "server_error"), "message": problem.message}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
