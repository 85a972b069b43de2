"""Every way to reach for another's session over HTTP. A route that names a session belongs on this list.

A stranger asks for a session of somebody else and for one that nobody ever had, and must not be able to tell the two
apart.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.routing import Route

Names = Mapping[str, str]
UNKNOWN: Names = {
    "session": "s_" + "0" * 24,
    "message": "m1",
    "chat": "nobodys",
    "response": "resp_s_" + "0" * 24 + "_m1",
}


class Reach(NamedTuple):
    """A request: {session} and whatever else `Names` has stand for the victim's, also in the texts of `body`, which is
    sent as JSON. `status`: that of what does not exist."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    status: int = 404


REACHES: list[Reach] = [
    Reach("GET", "/api/sessions/{session}"),
    Reach("PATCH", "/api/sessions/{session}", {"title": "mine"}),
    Reach("DELETE", "/api/sessions/{session}"),
    Reach("GET", "/api/sessions/{session}/export"),
    Reach("GET", "/api/sessions/{session}/events"),
    Reach("POST", "/api/sessions/{session}/messages", {"id": "m2", "content": "mine"}),
    Reach("POST", "/api/sessions/{session}/messages/{message}/cancel"),
    Reach("GET", "/api/chat/{chat}/stream", status=204),
    Reach("POST", "/api/chat/{chat}/stop", status=204),
    Reach("GET", "/v1/responses/{response}"),
    Reach("GET", "/v1/responses/{response}?stream=true&starting_after=0"),
    Reach("GET", "/v1/responses/{response}/input_items"),
    Reach("POST", "/v1/responses/{response}/cancel"),
    Reach("DELETE", "/v1/responses/{response}"),
    Reach("POST", "/v1/responses", {"model": "echo", "input": "Hi", "previous_response_id": "{response}"}, 400),
]
# Routes with a parameter that is nobody's.
OF_NOBODY = {"/v1/models/{id:any}", "/v1/{path:any}"}

Answer = tuple[int, str]
Ask = Callable[[Reach], Awaitable[Answer]]


def unlisted(app: Starlette, reaches: Iterable[Reach] = REACHES) -> set[str]:
    """Routes with a parameter that nobody has thought of here."""
    shapes = {_shape(reach.path) for reach in reaches}
    found = {route.path for route in app.routes if isinstance(route, Route) and "{" in route.path}
    return {path for path in found - OF_NOBODY if _shape(path) not in shapes}


async def told_apart(ask: Ask, theirs: Names, reaches: Iterable[Reach] = REACHES) -> list[tuple[Reach, Answer, Answer]]:
    """Requests that are answered otherwise for what is theirs than for what does not exist, or not with its status."""
    found = []
    for reach in reaches:
        there, nowhere = await ask(_of(reach, theirs)), await ask(_of(reach, UNKNOWN))
        if _without(there, theirs) != _without(nowhere, UNKNOWN) or there[0] != reach.status:
            found.append((reach, there, nowhere))
    return found


def _of(reach: Reach, names: Names) -> Reach:
    body = reach.body
    if body is not None:
        body = {key: value.format_map(names) if isinstance(value, str) else value for key, value in body.items()}
    return reach._replace(path=reach.path.format_map(names), body=body)


def _shape(path: str) -> tuple[str, ...]:
    return tuple("{}" if part.startswith("{") else part for part in path.split("/"))


def _without(answer: Answer, names: Names) -> Answer:
    text = answer[1]
    for name in sorted(names.values(), key=len, reverse=True):
        text = text.replace(name, "")
    return answer[0], text
