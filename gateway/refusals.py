"""Refusals of HTTP requests: which status each error has, and the error object as a response."""

from collections.abc import Callable, Mapping

import msgspec
from starlette.responses import Response

from shared.errors import ChatError

RETRY_AFTER = "1"  # seconds, for clients that a gateway turns away though the same request may succeed soon


class Failure(msgspec.Struct, tag_field="type", tag="error"):
    """A refusal: the fields of the WebSocket's `error`. `retryable`: the same request may succeed later."""

    code: str
    message: str
    retryable: bool


class MessageTooLarge(ChatError):
    """A body, or the message in it, has more bytes than it may have."""

    code = "message_too_large"
    retryable = False
    sentence = "The message is too large."


class UnsupportedMediaType(ChatError):
    """The body is not declared to be JSON."""

    code = "unsupported_media_type"
    retryable = False
    sentence = "The body must be JSON, with the header Content-Type: application/json."


class MethodNotAllowed(ChatError):
    """The path exists, but not with this method; the header Allow names those that it has."""

    code = "method_not_allowed"
    retryable = False
    sentence = "This address has no such method."


class OriginNotAllowed(ChatError):
    """A web page of another origin asks for a change."""

    code = "origin_not_allowed"
    retryable = False
    sentence = "Pages of this origin may change nothing here."


class NotFound(ChatError):
    """There is nothing at this address."""

    code = "not_found"
    retryable = False
    sentence = "There is nothing at this address."


class NoHistory(ChatError):
    """This service stores no conversations (LLM_CHAT_DATABASE_URL=none)."""

    code = "no_history"
    retryable = False
    sentence = "This service keeps no history."


class NoWorker(ChatError):
    """The client asked not to wait, and nobody can take its message now."""

    code = "no_worker"
    sentence = "No worker can take the message now."


class Stopping(ChatError):
    """This gateway process is about to stop."""

    code = "stopping"
    sentence = "This gateway is about to stop; connect again."


STATUSES = {
    "invalid_message": 400,
    "unknown_type": 400,
    "prompt_too_long": 400,
    "not_authenticated": 401,
    "origin_not_allowed": 403,
    "session_not_found": 404,
    "unknown_id": 404,
    "not_found": 404,
    "no_history": 404,
    "method_not_allowed": 405,
    "busy": 409,
    "message_too_large": 413,
    "unsupported_media_type": 415,
    "internal": 500,
    "engine_error": 502,
    "worker_lost": 502,
    "queue_full": 503,
    "broker_unavailable": 503,
    "engine_unavailable": 503,
    "store_unavailable": 503,
    "no_worker": 503,
    "stopping": 503,
    "expired": 504,
}

Refuse = Callable[[ChatError, Mapping[str, str] | None], Response]  # renders an error in an endpoint's own form


def status_of(error: ChatError) -> int:
    """The HTTP status of an error."""
    return STATUSES.get(error.code, 500)


def refuse(error: ChatError, headers: Mapping[str, str] | None = None) -> Response:
    """The error object with its status: everywhere but on addresses that have another service's form."""
    status = status_of(error)
    extra = {"retry-after": RETRY_AFTER} if status == 503 else {}
    body = msgspec.json.encode(Failure(error.code, error.message, error.retryable))
    return Response(body, status, {"cache-control": "no-store", **extra, **(headers or {})}, "application/json")
