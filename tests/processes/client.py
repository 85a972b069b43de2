"""A JSON client that keeps its own record, as PROTOCOL promises it can."""

import asyncio
import hashlib
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 10.0


class JsonClient:
    """One connection. `log` holds every frame that came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.log: list[dict[str, Any]] = []

    @staticmethod
    async def open(url: str) -> "JsonClient":
        """Connect with the JSON subprotocol."""
        return JsonClient(await connect(url, subprotocols=["llm-chat.v1"], max_size=None))  # type: ignore[list-item]

    @property
    def port(self) -> int:
        """The client's own, by which the server's process can be found."""
        return int(self.socket.local_address[1])

    async def say(self, type: str, **fields: Any) -> None:
        """Send one object."""
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), seconds))
        self.log.append(frame)
        return frame

    async def until(self, *types: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Read on to the first frame of one of these types."""
        async with asyncio.timeout(seconds):
            while (frame := await self.next(seconds))["type"] not in types:
                pass
        return frame

    async def close(self) -> None:
        """Close."""
        await self.socket.close()


def text_of(frames: list[dict[str, Any]]) -> str:
    """The reply as a client holds it after these frames of one id."""
    text = ""
    for frame in frames:
        if frame["type"] == "delta":
            text += frame["text"]
        elif frame["type"] == "takeover" and not frame["exact"]:
            text = ""
    return text


def sha256(text: str) -> str:
    """Of its UTF-8 form."""
    return hashlib.sha256(text.encode()).hexdigest()


def echo_of(message: str, chunks: int = 5) -> str:
    """What the echo engine replies."""
    return "\n".join(f"chunk {index}: {message}" for index in range(1, chunks + 1))


def events(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that have a cursor."""
    return [frame for frame in frames if "cursor" in frame]
