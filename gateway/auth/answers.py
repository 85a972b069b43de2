"""What somebody hears who is not let in."""

from typing import Any

from starlette.responses import JSONResponse

from shared.errors import ChatError, NotAuthenticated

OPENAI = "/v1/"


def refusal(path: str, error: ChatError, *, shown: bool) -> JSONResponse:
    """401, or 503 where it cannot be known; on /v1 in OpenAI's form. `shown`: there was something to judge."""
    unknown = not isinstance(error, NotAuthenticated)
    headers = {"cache-control": "no-store"}
    if unknown:
        headers["retry-after"] = "1"
    else:
        headers["www-authenticate"] = 'Bearer error="invalid_token"' if shown else "Bearer"  # RFC 6750, 3
    body = _openai(error, unknown) if (path + "/").startswith(OPENAI) else _ours(error)
    return JSONResponse(body, 503 if unknown else 401, headers=headers)


def _ours(error: ChatError) -> dict[str, Any]:
    return {"type": "error", "code": error.code, "message": error.message, "retryable": error.retryable}


def _openai(error: ChatError, unknown: bool) -> dict[str, Any]:
    kind, code = ("server_error", error.code) if unknown else ("invalid_request_error", "invalid_api_key")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}
