"""The content of a message: a string, or a list of parts of which only texts can be read here."""

import msgspec

from gateway.openai.problem import invalid, unsupported

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_REFUSED = {
    "image_url": "Images are",
    "input_image": "Images are",
    "input_audio": "Audio is",
    "file": "Files are",
    "input_file": "Files are",
}


class Part(msgspec.Struct):
    """One part. Those without text have other fields, which nobody reads."""

    type: str
    text: str | None = None
    refusal: str | None = None


Content = str | list[Part] | None


def text_of(content: Content, param: str) -> str:
    """The text, parts joined. Raises Refused for parts that are none, naming the place by `param`."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(_part(part, f"{param}[{number}]") for number, part in enumerate(content))


def _part(part: Part, param: str) -> str:
    if part.type in _REFUSED:
        raise unsupported(_REFUSED[part.type], param)
    name = _TEXTS.get(part.type)
    if name is None:
        raise invalid(f"Parts of the type {part.type[:64]!r} are not known here.", f"{param}.type")
    text = part.text if name == "text" else part.refusal
    if text is None:
        raise invalid(f"The field {name!r} is missing.", f"{param}.{name}")
    return text
