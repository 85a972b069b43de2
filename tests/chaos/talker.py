"""A small client that records what it says and hears: just enough to show that the checker sees a broken service."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.chaos.records import Journal

PATIENCE = 3.0  # seconds without a frame after which it gives up
SETTLE = 0.15  # seconds that it goes on listening behind a terminal


class Talker:
    """A JSON client, one connection at a time."""

    def __init__(self, records: Path, name: str, url: str) -> None:
        self.name = name
        self.session = ""
        self.cursors: list[str] = []
        self._url = url
        self._journal = Journal(records, f"client-{name}")
        self._number = 0
        self._socket: ClientConnection | None = None

    async def open(self, after: str | None = None, *, resume: bool = False, replay: bool = False) -> None:
        """Connect; begin a session, or go on with this one behind a cursor."""
        self._number += 1
        fields = {"dialect": "json", "gateway": "gateway", "connection": self._number, "replay": replay}
        self._journal.write("connect", **fields)
        self._socket = await connect(self._url, subprotocols=["llm-chat.v1"])  # type: ignore[list-item]
        if resume:
            behind = {} if after is None else {"after": after}
            await self.say("resume", session_id=self.session, **behind)
        else:
            await self.say("start")
        while (await self.hear())["type"] != "session":
            pass

    async def say(self, type: str, **fields: Any) -> None:
        """Send one frame."""
        assert self._socket is not None
        frame = {"type": type, **fields}
        self._journal.write("sent", connection=self._number, frame=frame)
        await self._socket.send(json.dumps(frame))

    async def hear(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Receive one frame. Raises TimeoutError."""
        assert self._socket is not None
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self._socket.recv(), seconds))
        self._journal.write("got", connection=self._number, frame=frame)
        if frame["type"] == "session":
            self.session = frame["session_id"]
        if "cursor" in frame:
            self.cursors.append(frame["cursor"])
        return frame

    async def ask(self, id: str, *, cancel_after: int | None = None) -> None:
        """Send a message and listen to its end, and a little longer. `cancel_after`: stop it behind so many pieces."""
        await self.say("message", id=id, content=f"{self.name}/{id}")
        try:
            lost = await self._follow(id, cancel_after)
        except TimeoutError:
            self._journal.write("gave_up", id=id, after_seconds=PATIENCE, why="silence")
            return
        if lost:
            self._journal.write("gave_up", id=id, after_seconds=0.0, why="the loss was said")
            return
        self._journal.write("done", id=id)
        with suppress(TimeoutError):
            while True:
                await self.hear(SETTLE)

    async def _follow(self, id: str, cancel_after: int | None) -> bool:
        """To its end, or to the news that it is lost. Raises TimeoutError."""
        pieces = 0
        while True:
            frame = await self.hear()
            if frame["type"] == "session":
                return True
            if frame.get("id") != id:
                continue
            if frame["type"] in ("done", "error"):
                return False
            pieces += frame["type"] == "delta"
            if pieces == cancel_after:
                await self.say("cancel", id=id)

    async def replay(self) -> None:
        """Read the session again: from its beginning and from its middle."""
        known = list(self.cursors)
        for after in (None, known[len(known) // 2]):
            await self.close()
            await self.open(after, resume=True, replay=True)
            try:
                while (await self.hear(SETTLE * 2)).get("cursor") != known[-1]:
                    pass
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Hang up."""
        socket, self._socket = self._socket, None
        if socket is not None:
            self._journal.write("closed", connection=self._number, by="us")
            await socket.close()

    async def end(self) -> None:
        """Hang up for good."""
        await self.close()
        self._journal.close()


async def talk_plain(records: Path, name: str, url: str, chunks: int) -> None:
    """A plain client with two messages at once."""
    journal = Journal(records, f"client-{name}")
    journal.write("connect", dialect="plain", gateway="gateway", connection=1)
    async with connect(url) as socket:
        for id in ("1", "2"):
            frame = {"type": "message", "id": id, "content": f"{name}/{id}"}
            journal.write("sent", connection=1, frame=frame)
            await socket.send(frame["content"])
        try:
            for _ in range(2 * chunks):
                text = await asyncio.wait_for(socket.recv(), PATIENCE)
                journal.write("got", connection=1, frame={"text": text})
        except (TimeoutError, ConnectionClosed):
            journal.write("gave_up", id="2", after_seconds=PATIENCE, why="silence")
        journal.write("closed", connection=1, by="us")
    journal.close()
