"""What an interface says of its endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.refusals import Failure

JSON = "application/json"
EVENTS = "text/event-stream"


class Content(NamedTuple):
    """A response. `type`: what msgspec encodes into it; None: there is no body, or it is only text of that `media`."""

    description: str
    type: Any = None
    media: str = JSON
    headers: Mapping[str, str] = {}  # names and what they say


class Parameter(NamedTuple):
    """Of a query, a path or the headers. `schema` is JSON Schema."""

    name: str
    where: str
    description: str
    schema: Mapping[str, Any] = {"type": "string"}


class Operation(NamedTuple):
    """One method of one path. `body`: what msgspec decodes; `optional`: it may be left out."""

    summary: str
    answers: Mapping[int, Content | Sequence[Content]]
    body: Any = None
    optional: bool = False
    parameters: Sequence[Parameter] = ()


# By path and method. An interface that describes itself otherwise gives JSON objects in place of operations.
Paths = Mapping[str, Mapping[str, Operation | Mapping[str, Any]]]


def refused(*statuses: int) -> dict[int, Content]:
    """What an endpoint refuses with the error object."""
    return {status: Content(_REASONS[status], Failure) for status in statuses}


_REASONS = {
    400: "The request is not valid; the message names what is wrong.",
    404: "There is no such thing, or it is not the caller's.",
    405: "The address has no such method; `Allow` names those that it has.",
    409: "The session is busy, and the client did not want to wait.",
    413: "The body, or the message in it, is too large.",
    415: "The body is not declared to be JSON.",
    503: "Not now; the message says why. Try again.",
}
