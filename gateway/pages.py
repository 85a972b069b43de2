"""The plain page on `/`, and what a person sees who comes to the wrong place."""

import base64
import hashlib
import html
import re
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.websockets import WebSocket

from gateway.refusals import NotFound, refuse

INDEX = Path(__file__).parent / "static" / "index.html"
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class IndexPage:
    """What this is and how to try it. It runs no script: the console snippet is for the reader to paste."""

    def __init__(self) -> None:
        self._text = INDEX.read_text(encoding="utf-8")
        self._headers = {
            "content-security-policy": _policy(self._text),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }

    async def show(self, request: Request) -> HTMLResponse:
        """The page, with the address by which it was reached."""
        host = html.escape(request.headers.get("host", "localhost:8080"))
        return HTMLResponse(self._text.replace("{host}", host), headers=self._headers)


def _policy(text: str) -> str:
    """Nothing but the page's own style, by its hash, and connections to this very server."""
    style = _STYLE.search(text)
    digest = hashlib.sha256((style[1] if style else "").encode()).digest()
    return (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(digest).decode()}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer for programs that people can read too: the fields of the WebSocket's `error`."""
    body = {"type": "error", "code": code, "message": message, "retryable": status >= 500}
    return JSONResponse(body, status, headers=headers)


async def http_error(request: Request, failure: Exception) -> Response:
    """Starlette's own refusals, such as 404 and 405, in the same form."""
    assert isinstance(failure, HTTPException)
    if failure.status_code == 404:
        return refuse(NotFound())
    code = HTTPStatus(failure.status_code).name.lower()
    return error(failure.status_code, code, failure.detail, dict(failure.headers or {}))


async def internal_error(request: Request, failure: Exception) -> Response:
    """The traceback is for the log only."""
    return error(500, "internal", "Something went wrong inside the service.")


async def upgrade_required(request: Request) -> Response:
    """`/ws` opened as a page."""
    host = request.headers.get("host", "localhost:8080")
    sentence = f"This address speaks WebSocket only. Try: wscat -c ws://{host}/ws"
    return error(426, "upgrade_required", sentence, {"upgrade": "websocket", "connection": "upgrade"})


async def no_such_socket(websocket: WebSocket) -> None:
    """A WebSocket to any other path: stock answers 403, which would be taken for a matter of rights."""
    await websocket.send_denial_response(error(404, "not_found", "There is no WebSocket here; the address is /ws."))
