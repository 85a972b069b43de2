"""/asyncapi.json against the frames that go over a real WebSocket."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import pytest
from websockets.asyncio.client import ClientConnection, connect

from gateway.protocol import CLIENT_FRAMES, SERVER_FRAMES, JsonDialect
from tests.gateway.housing import House, house


class Document:
    """Judges frames."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.messages = document["channels"]["chat"]["messages"]

    def allows(self, frame: Mapping[str, Any]) -> bool:
        """Whether the frame is as it is documented."""
        schema = {**self.messages[frame["type"]]["payload"], "components": self.document["components"]}
        return jsonschema_rs.Draft202012Validator(schema).is_valid(frame)

    def kinds(self, operation: str) -> set[str]:
        return {one["$ref"].rpartition("/")[2] for one in self.document["operations"][operation]["messages"]}


async def document_of(here: House) -> Document:
    return Document((await here.client.get("/asyncapi.json")).json())


async def test_every_frame_of_the_service_is_as_documented() -> None:
    async with house() as here:
        document = await document_of(here)
        async with connect(f"ws://127.0.0.1:{here.gate.port}/ws", subprotocols=["llm-chat.v1"]) as socket:  # type: ignore[list-item]
            heard = await conversation(here, socket)

    assert document.kinds("send") == set(SERVER_FRAMES)
    assert {frame["type"] for frame in heard} == set(SERVER_FRAMES)
    assert [frame for frame in heard if not document.allows(frame)] == []
    broken = [{**frame, **{key: [[]] for key in frame.keys() - {"type"}}} for frame in heard if len(frame) > 1]
    assert [frame for frame in broken if document.allows(frame)] == [], "the schemas say something"


async def conversation(here: House, socket: ClientConnection) -> list[dict[str, Any]]:
    """In which each type of frame occurs."""
    heard: list[dict[str, Any]] = []

    async def hear(count: int) -> None:
        heard.extend([json.loads(await socket.recv()) for _ in range(count)])

    async def say(type: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": type, **fields}))

    await say("ping", nonce=1)
    await say("start", system="Be kind.")
    await hear(2)
    ahead = (await here.client.post("/api/sessions")).json()["session_id"]
    await here.client.post(f"/api/sessions/{ahead}/messages", json={"id": "first", "content": "Hello"})
    await say("message", id="m1", content="Hello")
    await hear(1)  # accepted, behind the other one
    (await here.client.post(f"/api/sessions/{ahead}/messages/first/cancel")).raise_for_status()
    await hear(1)  # queued: its place has changed
    (await here.run()).say("one")
    here.worker.die()
    here.worker.take_one().done("two")
    await hear(5)
    await say("cancel", id="nobody's")
    here.gate.hub.going_away(500)
    await hear(2)
    return heard


@pytest.mark.parametrize("kind", CLIENT_FRAMES)
async def test_what_clients_send_is_as_documented(kind: str) -> None:
    good: dict[str, dict[str, Any]] = {
        "start": {"system": "Be kind.", "model": "echo"},
        "resume": {"session_id": "s", "after": "1-1-0-00000000"},
        "message": {"id": "m", "content": "c", "params": {"temperature": 1, "stop": ["x"]}},
        "cancel": {"id": "m"},
        "ping": {"nonce": "n"},
    }
    async with house() as here:
        document = await document_of(here)
    assert document.kinds("receive") == set(CLIENT_FRAMES)
    frames = [good[kind], *({**good[kind], field: [[]]} for field in good[kind])]
    for frame in ({"type": kind, **fields} for fields in frames):
        understood = not any(
            b"invalid_message" in getattr(said, "payload", b"") for said in JsonDialect().receive(json.dumps(frame))
        )
        assert document.allows(frame) is understood, frame
