"""What /openapi.json says of /v1."""

from gateway.describe.operation import EVENTS, Content, Operation, Parameter, Paths
from gateway.openai.chat_request import ChatCompletionBody
from gateway.openai.response_request import ResponseBody
from gateway.openai.shapes import ChatCompletion, Deleted, ErrorAnswer, ItemList, Model, ModelList, ResponseObject

_REASONS = {
    400: "The request is not valid, or not supported; `param` is the field.",
    404: "No such model or response.",
    409: "The session is busy, the previous response still runs, or the reply was cancelled.",
    413: "The body is too large.",
    415: "The body is not declared to be JSON.",
    429: "Too many messages are waiting.",
    502: "The model's server failed, or the worker was lost too often.",
    503: "Not now; the message says why. Try again.",
}
_REFUSED = {status: Content(reason, ErrorAnswer) for status, reason in _REASONS.items()}
_FOUND = {status: _REFUSED[status] for status in (404, 503)}
_RESPONSE = Content("The response.", ResponseObject)
_EVENTS = Content("Its events, each under its name, with its `sequence_number`.", None, EVENTS)
_ID = Parameter("id", "path", "The response.", {"type": "string", "minLength": 1})
_STREAM = Parameter("stream", "query", "Answer with its events.", {"type": "boolean", "default": False})
_AFTER = Parameter(
    "starting_after", "query", "Only the events behind this `sequence_number`.", {"type": "integer", "minimum": 0}
)

PATHS: Paths = {
    "/v1/chat/completions": {
        "POST": Operation(
            "Ask for a reply to a conversation.",
            {
                200: [
                    Content("The reply.", ChatCompletion),
                    Content("With `stream`: its chunks, and `[DONE]`.", None, EVENTS),
                ],
                **_REFUSED,
            },
            body=ChatCompletionBody,
        ),
    },
    "/v1/models": {
        "GET": Operation(
            "The models that may be named.", {200: Content("All of them.", ModelList), 503: _REFUSED[503]}
        ),
    },
    "/v1/models/{id}": {
        "GET": Operation(
            "A model.",
            {200: Content("The model.", Model), **_FOUND},
            parameters=(Parameter("id", "path", "The model.", {"type": "string", "minLength": 1}),),
        ),
    },
    "/v1/responses": {
        "POST": Operation("Make a response.", {200: [_RESPONSE, _EVENTS], **_REFUSED}, body=ResponseBody),
    },
    "/v1/responses/{id}": {
        "GET": Operation(
            "A response, as far as it is.",
            {200: [_RESPONSE, _EVENTS], 400: _REFUSED[400], **_FOUND},
            parameters=(_ID, _STREAM, _AFTER),
        ),
        "DELETE": Operation(
            "Have a response forgotten.", {200: Content("It is forgotten.", Deleted), **_FOUND}, parameters=(_ID,)
        ),
    },
    "/v1/responses/{id}/cancel": {
        "POST": Operation("Stop a response and wait for its end.", {200: _RESPONSE, **_FOUND}, parameters=(_ID,)),
    },
    "/v1/responses/{id}/input_items": {
        "GET": Operation("What was put in.", {200: Content("The items.", ItemList), **_FOUND}, parameters=(_ID,)),
    },
}
