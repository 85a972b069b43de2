"""AsyncAPI 3.0 (asyncapi.com/docs/reference/specification/v3.0.0) of the WebSocket's JSON dialect."""

from importlib.metadata import version
from typing import Any

from gateway.describe.schemas import schemas
from gateway.protocol import CLIENT_FRAMES, SERVER_FRAMES, SUBPROTOCOL

_CHANNEL = "#/channels/chat"


def asyncapi(largest_message: int) -> dict[str, Any]:
    """The document; `largest_message` in bytes."""
    frames = CLIENT_FRAMES | SERVER_FRAMES
    found, components = schemas(frames.values())
    assert all(schema.keys() == {"$ref"} for schema in found)
    for kind, frame in CLIENT_FRAMES.items():
        _give_type(components[frame.__name__.lstrip("_")], kind)
    messages = {kind: _message(kind, schema) for kind, schema in zip(frames, found, strict=True)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "llm-chat",
            "version": version("llm-chat"),
            "description": f"One JSON object per text frame, of at most {largest_message:,} bytes; "
            "docs/protocol.md says what each means and when it is sent.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "chat": {
                "address": "/ws",
                "description": f"A WebSocket with the subprotocol {SUBPROTOCOL}. It holds one session.",
                "messages": messages,
                "bindings": {"ws": {"method": "GET", "headers": _HANDSHAKE}},
            }
        },
        "operations": {
            "receive": _operation("receive", "What clients send", list(CLIENT_FRAMES)),
            "send": _operation("send", "What the service sends", list(SERVER_FRAMES)),
        },
        "components": {"schemas": components},
    }


_HANDSHAKE = {
    "type": "object",
    "properties": {"Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL}},
    "required": ["Sec-WebSocket-Protocol"],
}


def _give_type(schema: dict[str, Any], kind: str) -> None:
    """Frames of clients have their type looked at before they are decoded, so that their structs lack it."""
    schema["properties"] = {"type": {"enum": [kind]}} | schema["properties"]
    schema["required"] = ["type", *schema.get("required", ())]


def _message(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": kind, "title": kind, "payload": schema}


def _operation(action: str, summary: str, kinds: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": _CHANNEL},
        "messages": [{"$ref": f"{_CHANNEL}/messages/{kind}"} for kind in kinds],
    }
