"""Every way to reach for another's session over HTTP. A route that names a session belongs on this list.

`stranger` asks for a session of somebody else and for one that nobody ever had, and must not be able to tell the two
apart.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

# (method, path); {session} is the session, {message} the id of its one message.
TEMPLATES: list[tuple[str, str]] = []
# Routes with a parameter that is not anybody's session.
OF_NOBODY: set[str] = set()

Answer = tuple[int, str]
Ask = Callable[[str, str], Awaitable[Answer]]
UNKNOWN = "s_" + "0" * 24


def unlisted(app: Starlette, templates: Iterable[tuple[str, str]] = TEMPLATES) -> set[str]:
    """Routes with a parameter that nobody has thought of here."""
    shapes = {_shape(path) for _, path in templates}
    found = {route.path for route in app.routes if isinstance(route, Route) and "{" in route.path}
    return {path for path in found - OF_NOBODY if _shape(path) not in shapes}


async def told_apart(
    ask: Ask, session: str, message: str, templates: Iterable[tuple[str, str]] = TEMPLATES
) -> list[Any]:
    """Requests that are answered otherwise for this session than for one that does not exist, or not by 404."""
    found = []
    for method, template in templates:
        there = await ask(method, template.format(session=session, message=message))
        nowhere = await ask(method, template.format(session=UNKNOWN, message=message))
        if _without(there, session) != _without(nowhere, UNKNOWN) or there[0] != 404:
            found.append((method, template, there, nowhere))
    return found


def _shape(path: str) -> tuple[str, ...]:
    return tuple("{}" if part.startswith("{") else part for part in path.split("/"))


def _without(answer: Answer, session: str) -> Answer:
    return answer[0], answer[1].replace(session, "")
