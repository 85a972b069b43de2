"""What stands in a request's query and headers: cursors and switches. Each raises InvalidMessage."""

import base64
import binascii

import msgspec
from starlette.requests import Request

from shared.errors import InvalidMessage
from shared.messages import Cursor
from shared.store import Place

PAGE = 50  # sessions, where the client does not say
LARGEST_PAGE = 100
_SWITCHES = {"true": True, "1": True, "": True, "false": False, "0": False}
_place = msgspec.json.Decoder(Place)


def switch(request: Request, name: str, default: bool) -> bool:
    """`?name=true`, or `?name` alone."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if text not in _SWITCHES:
        raise InvalidMessage(f"`{name}` is true or false.")
    return _SWITCHES[text]


def choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """One of these; the first where nothing is said."""
    text = request.query_params.get(name, choices[0])
    if text not in choices:
        raise InvalidMessage(f"`{name}` is {' or '.join(choices)}.")
    return text


def page_size(request: Request) -> int:
    """`?limit=`"""
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= LARGEST_PAGE):
        raise InvalidMessage(f"`limit` is a number from 1 to {LARGEST_PAGE}.")
    return int(text)


def resume_after(request: Request) -> Cursor | None:
    """The last event that the client has: `Last-Event-ID`, which a reconnecting EventSource sends, else `?after=`."""
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except ValueError:
        raise InvalidMessage("The cursor to resume after is not one of this service.") from None


def page_after(request: Request) -> Place | None:
    """`?cursor=`, as `encode_place` made it."""
    text = request.query_params.get("cursor")
    if not text:
        return None
    try:
        return _place.decode(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise InvalidMessage("The `cursor` of the page is not one of this service.") from None


def encode_place(place: Place | None) -> str | None:
    """Opaque to clients."""
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()
