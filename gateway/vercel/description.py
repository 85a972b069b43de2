"""What /openapi.json says of the AI SDK's endpoints."""

from gateway.describe.operation import EVENTS, Content, Operation, Parameter, Paths, refused
from gateway.rest.description import CANCELLED
from gateway.vercel.chat import UiRequest

_VERSION = {"x-vercel-ai-ui-message-stream": "v1"}
_STREAM = Content("The reply as a UI message stream, version 1.", None, EVENTS, _VERSION)
_ID = Parameter("id", "path", "The chat, by the client's own id.", {"type": "string", "minLength": 1})
_NONE = Content("No reply is under way.")

PATHS: Paths = {
    "/api/chat": {
        "POST": Operation(
            "Ask for a reply to a conversation's last message.",
            {200: _STREAM, **refused(400, 404, 409, 413, 415, 503)},
            body=UiRequest,
        ),
    },
    "/api/chat/{id}/stream": {
        "GET": Operation(
            "The reply that is under way, from its beginning.",
            {200: _STREAM, 204: _NONE, **refused(503)},
            parameters=(_ID,),
        ),
    },
    "/api/chat/{id}/stop": {
        "POST": Operation(
            "Stop the reply that is under way and wait for its end.",
            CANCELLED | {204: _NONE} | refused(503),
            parameters=(_ID,),
        ),
    },
}
