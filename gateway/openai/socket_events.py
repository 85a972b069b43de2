"""What the WebSocket mode of responses adds to their events. Pure."""

from typing import Any

import msgspec

from gateway.openai.problem import Problem, Refused, invalid
from gateway.openai.response import Head, Outcome, response_object
from gateway.openai.response_id import ResponseId
from gateway.openai.response_reply import Render
from gateway.openai.response_request import ResponseRequest, read_response
from gateway.openai.sampling import decoded

CREATE = "response.create"
_encode = msgspec.json.Encoder().encode


class _Typed(msgspec.Struct):
    type: str
    stream_id: str | None = None


_decoder = msgspec.json.Decoder(_Typed)


def read_event(text: str) -> ResponseRequest:
    """A client's event. Raises Refused."""
    data = text.encode()
    type = decoded(_decoder, data).type
    if type != CREATE:
        raise invalid(f"Events of the type {type[:64]!r} are not known; {CREATE!r} is.", "type", "unknown_type")
    return read_response(data)


def lane_in(text: str) -> str | None:
    """The lane that a refused event names, if it can be read."""
    try:
        return decoded(_decoder, text.encode()).stream_id
    except (Refused, UnicodeEncodeError):
        return None


def framed(lane: str | None) -> Render:
    """Events as text frames, each under its lane's name where that has one."""
    extra = {} if lane is None else {"stream_id": lane}
    return lambda event: _encode({**event, **extra})


def error_event(problem: Problem, lane: str | None) -> bytes:
    """A request that was refused."""
    return framed(lane)({"type": "error", "status": problem.status, **problem.body()})


def warmed(id: ResponseId, head: Head, lane: str | None) -> list[bytes]:
    """The events of a response without a reply (`generate` is false), from which others may go on."""
    done = {**response_object(id, head, Outcome("completed")), "output": []}
    created = {**done, "status": "in_progress", "completed_at": None}
    frames = [("response.created", created), ("response.completed", done)]
    say = framed(lane)
    return [say(_event(type, number, response)) for number, (type, response) in enumerate(frames)]


def _event(type: str, number: int, response: dict[str, Any]) -> dict[str, Any]:
    return {"type": type, "sequence_number": number, "response": response}
