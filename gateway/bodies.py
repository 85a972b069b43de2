"""The bodies of requests: bounded, JSON, of the wanted type."""

from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from gateway.refusals import MessageTooLarge, UnsupportedMediaType
from shared.errors import InvalidMessage

T = TypeVar("T")
LARGEST = 4 << 20  # bytes


async def read_body(request: Request, largest: int = LARGEST) -> bytes:
    """All of it. Raises MessageTooLarge, before it is read where its length is declared; InvalidMessage where the
    client goes away in the middle."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > largest:
        raise MessageTooLarge(f"The body may have {largest:,} bytes.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest:
                raise MessageTooLarge(f"The body may have {largest:,} bytes.")
    except ClientDisconnect:
        raise InvalidMessage("The body is not complete.") from None
    return bytes(body)


async def read_json(
    request: Request, decoder: "msgspec.json.Decoder[T]", largest: int = LARGEST, *, default: bytes = b""
) -> T:
    """The body as the decoder's type. Raises UnsupportedMediaType, MessageTooLarge, or InvalidMessage, which names the
    field. An empty body counts as `default`, where there is one."""
    body = await read_body(request, largest)
    if not body and default:
        return decoder.decode(default)
    if not is_json(request.headers.get("content-type", "")):
        raise UnsupportedMediaType
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidMessage(f"{error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidMessage("The body is not valid JSON.") from None


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON (RFC 8259; with any parameters, and RFC 6839's `+json`)."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
