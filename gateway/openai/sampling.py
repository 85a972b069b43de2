"""The sampling parameters that both APIs share, and how their bodies are read."""

import re
from typing import Annotated, Any, TypeVar

import msgspec

from gateway.openai.problem import invalid

T = TypeVar("T")
MOST_STOPS = 4

Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
TopP = Annotated[float, msgspec.Meta(ge=0, le=1)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Seed = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Metadata = dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]]

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")


def decoded(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """A body by its type; unknown fields are ignored. Raises Refused, with the field's path as `param`."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        sentence = str(error)
        place = _PLACE.search(sentence)
        what = sentence if place is None else sentence[: place.start()]
        raise invalid(f"{what}.", (place[1] or None) if place else _missing(sentence), "invalid_value") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid("The body is not valid JSON.") from None


def _missing(sentence: str) -> str | None:
    """msgspec names no place for a field that the body itself lacks."""
    found = re.search(r"missing required field `(\w+)`", sentence)
    return found[1] if found else None


def stops(given: str | list[str] | None) -> str | tuple[str, ...] | None:
    """Where to stop: at most four texts. Raises Refused."""
    if given is None or isinstance(given, str):
        return given or None
    if len(given) > MOST_STOPS:
        raise invalid(f"There may be at most {MOST_STOPS} texts to stop at.", "stop")
    if not all(given):
        raise invalid("A text to stop at must not be empty.", "stop")
    return tuple(given) or None


def is_text(format: dict[str, Any] | None) -> bool:
    """Whether an output format asks for nothing but text."""
    return format is None or format.get("type", "text") == "text"
