"""What went wrong, in OpenAI's words: status, error object and headers. The table from our errors to theirs is here."""

from typing import Any, NamedTuple

from shared.errors import ChatError

INVALID = "invalid_request_error"
SERVER = "server_error"
SOON_MS = 1_000  # what a client is told to wait before it tries again


class Problem(NamedTuple):
    """`param` is the path of the field that is wrong. `again`: the same request may succeed later."""

    status: int
    message: str
    type: str = INVALID
    param: str | None = None
    code: str | None = None
    again: bool = False

    def body(self) -> dict[str, Any]:
        """The JSON of an error answer, and of an error in mid-stream. Clients look for all four keys."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """The official SDKs obey these."""
        headers = {"x-should-retry": "true" if self.again else "false"}
        if self.again:
            headers |= {"retry-after": str(SOON_MS // 1000), "retry-after-ms": str(SOON_MS)}
        return headers


class Refused(ChatError):
    """Raised where a request cannot be served; it goes beyond our error codes."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """A request that is wrong in itself."""
    return Refused(Problem(400, message, INVALID, param, code))


def unsupported(what: str, param: str) -> Refused:
    """A request for what no engine of this service does."""
    return Refused(Problem(400, f"{what} not supported by this service.", INVALID, param, "unsupported_parameter"))


# Our codes: the status, and OpenAI's type and code where theirs says the same.
TABLE: dict[str, tuple[int, str, str | None]] = {
    "invalid_message": (400, INVALID, None),
    "unknown_type": (400, INVALID, None),
    "unknown_id": (404, INVALID, None),
    "not_found": (404, INVALID, None),
    "no_history": (404, INVALID, None),
    "origin_not_allowed": (403, INVALID, None),
    "method_not_allowed": (405, INVALID, None),
    "unsupported_media_type": (415, INVALID, None),
    "prompt_too_long": (400, INVALID, "context_length_exceeded"),
    "message_too_large": (413, INVALID, None),
    "not_authenticated": (401, INVALID, "invalid_api_key"),
    "session_not_found": (404, INVALID, None),
    "busy": (409, INVALID, None),
    "queue_full": (429, "rate_limit_error", None),
    "rate_limited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "broker_unavailable": (503, SERVER, None),
    "store_unavailable": (503, SERVER, None),
    "engine_error": (502, SERVER, None),
    "engine_unavailable": (503, SERVER, None),
    "worker_lost": (502, SERVER, None),
    "expired": (503, SERVER, None),
    "no_worker": (503, SERVER, None),
    "stopping": (503, SERVER, None),
    "internal": (500, SERVER, None),
}


def problem_of(error: ChatError) -> Problem:
    """The table applied."""
    if isinstance(error, Refused):
        return error.problem
    return problem_named(error.code, error.message, error.retryable)


def problem_named(code: str, message: str, again: bool) -> Problem:
    """The same, where the error came as an event."""
    status, type, theirs = TABLE.get(code, TABLE["internal"])
    return Problem(status, message, type, None, theirs or code, again)


def cancelled() -> Problem:
    """Somebody has stopped the reply; what there is of it is not what was asked for."""
    return Problem(409, "The reply was cancelled before it was complete.", INVALID, None, "cancelled")


def restarted() -> Problem:
    """A takeover that is not exact, behind text that a stream cannot take back."""
    sentence = "The model's worker was lost and the reply began anew, which this stream cannot show; ask again."
    return Problem(502, sentence, SERVER, None, "restarted", True)


def lost() -> Problem:
    """The broker has lost the reply, or keeps it no longer."""
    sentence = "The message queue has lost this reply; send the request again."
    return Problem(503, sentence, SERVER, None, "lost", True)
