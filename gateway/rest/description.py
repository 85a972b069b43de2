"""What /openapi.json says of the session endpoints."""

from typing import Any

from gateway.describe.operation import EVENTS, Content, Operation, Parameter, Paths, refused
from gateway.protocol import SERVER_FRAMES
from gateway.rest.queries import LARGEST_PAGE, PAGE
from gateway.rest.shapes import (
    Begun,
    Cancelling,
    Conversation,
    MessageAccepted,
    NewMessage,
    NewSession,
    Renaming,
    SessionHead,
    SessionList,
)

CURSOR = r"^\d{1,16}-\d{1,6}-\d{1,9}-[0-9a-f]{8}$"
Terminal: Any = SERVER_FRAMES["done"] | SERVER_FRAMES["error"]
CANCELLED = {
    200: Content("Its terminal: `done` or `error`, as every reader of the session gets it.", Terminal),
    202: Content("It will be stopped, but waits behind another one.", Cancelling),
}
_SWITCH = {"type": "boolean"}
_ID = Parameter("id", "path", "The session.", {"type": "string", "minLength": 1, "maxLength": 256})
_MESSAGE = Parameter("message", "path", "The message's id.", {"type": "string", "minLength": 1, "maxLength": 256})
_STREAM = Content("Server-sent events: `event` is a frame's type, `data` the frame, `id` its cursor.", None, EVENTS)
_LIST = (
    Parameter(
        "limit",
        "query",
        "Sessions on a page.",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
    ),
    Parameter("cursor", "query", "The `next` of the page before."),
)
_FOLLOW = (
    _ID,
    Parameter("after", "query", "A cursor: only what comes behind it.", {"type": "string", "pattern": CURSOR}),
    Parameter("Last-Event-ID", "header", "The same; it goes before `after`.", {"type": "string", "pattern": CURSOR}),
)
_ASK = (
    _ID,
    Parameter("stream", "query", "Answer with the reply, as server-sent events.", _SWITCH | {"default": False}),
    Parameter("wait", "query", "Whether the message may wait for a worker.", _SWITCH | {"default": True}),
)
_FORMAT = Parameter("format", "query", "What to make of it.", {"enum": ["json", "markdown"], "default": "json"})

PATHS: Paths = {
    "/api/sessions": {
        "GET": Operation(
            "The caller's sessions, the newest first.",
            {200: Content("A page.", SessionList), **refused(400, 404, 503)},
            parameters=_LIST,
        ),
        "POST": Operation(
            "Make a session.",
            {
                201: Content("It is there.", Begun, headers={"Location": "Its address."}),
                **refused(400, 413, 415, 503),
            },
            body=NewSession,
            optional=True,
        ),
    },
    "/api/sessions/{id}": {
        "GET": Operation(
            "A session with its messages.",
            {200: Content("All of it.", Conversation), **refused(404, 503)},
            parameters=(_ID,),
        ),
        "PATCH": Operation(
            "Give a session another title.",
            {200: Content("It has it.", SessionHead), **refused(400, 404, 413, 415, 503)},
            body=Renaming,
            parameters=(_ID,),
        ),
        "DELETE": Operation(
            "Delete a session for good. Its reply is aborted, its readers are told.",
            {204: Content("It is gone."), **refused(404, 503)},
            parameters=(_ID,),
        ),
    },
    "/api/sessions/{id}/export": {
        "GET": Operation(
            "A session as a file.",
            {
                200: (
                    Content("As JSON.", Conversation, headers={"Content-Disposition": "A name for it."}),
                    Content("As Markdown.", None, "text/markdown"),
                ),
                **refused(400, 404, 503),
            },
            parameters=(_ID, _FORMAT),
        ),
    },
    "/api/sessions/{id}/events": {
        "GET": Operation(
            "Follow a session: what is kept, then live, until the client goes or the gateway stops.",
            {200: _STREAM, **refused(400, 404, 503)},
            parameters=_FOLLOW,
        ),
    },
    "/api/sessions/{id}/messages": {
        "POST": Operation(
            "Ask for a reply. The same id again never runs twice.",
            {
                200: _STREAM,
                202: Content("It is in the queue, or has been.", MessageAccepted),
                **refused(400, 404, 409, 413, 415, 503),
            },
            body=NewMessage,
            parameters=_ASK,
        ),
    },
    "/api/sessions/{id}/messages/{message}/cancel": {
        "POST": Operation(
            "Stop a reply and wait for its end.", CANCELLED | refused(404, 503), parameters=(_ID, _MESSAGE)
        ),
    },
}
