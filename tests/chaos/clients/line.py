"""One connection of a client, with everything that goes over it on record."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from tests.chaos.clients.hall import Hall
from tests.chaos.records import Journal

OPEN_SECONDS = 5.0
PING_SECONDS = 3.0  # between two WebSocket pings, and until a missing answer means: half-open
CLOSE_SECONDS = 1.0
BROKEN = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError, TimeoutError)  # what a network can do


class Line:
    """Made by `open`. `number` counts the client's connections."""

    def __init__(self, journal: Journal, number: int, socket: ClientConnection, hall: Hall) -> None:
        self.number = number
        self.is_open = True
        self._journal = journal
        self._socket = socket
        self._hall = hall
        self._port = int(socket.local_address[1])

    @staticmethod
    async def open(
        hall: Hall,
        journal: Journal,
        client: str,
        number: int,
        door: int,
        *,
        json: bool,
        replay: bool,
        deaf: bool = False,
    ) -> "Line":
        """Connect to a gateway. `deaf`: no pings, for one that will not read their answers. Raises one of BROKEN."""
        gateway, way = hall.doors[door % len(hall.doors)]
        fields: dict[str, Any] = {"replay": True} if replay else {}
        dialect = "json" if json else "plain"
        journal.write("connect", dialect=dialect, gateway=gateway, connection=number, **fields)
        try:
            socket = await connect(
                way.url,
                subprotocols=[Subprotocol("llm-chat.v1")] if json else None,
                max_size=None,
                compression=None,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                ping_interval=None if deaf else PING_SECONDS,
                ping_timeout=PING_SECONDS,
                proxy=None,
            )
        except BROKEN:
            journal.write("closed", connection=number, by="fault")
            raise
        line = Line(journal, number, socket, hall)
        hall.callers[line._port] = (client, number)
        return line

    async def say(self, frame: dict[str, Any]) -> None:
        """Send one object. It is on record before it is on its way. Raises one of BROKEN."""
        self._journal.write("sent", connection=self.number, frame=frame)
        await self._socket.send(json.dumps(frame))

    async def say_text(self, id: str, text: str) -> None:
        """Send a message in plain text. Raises one of BROKEN."""
        frame = {"type": "message", "id": id, "content": text}
        self._journal.write("sent", connection=self.number, frame=frame)
        await self._socket.send(text)

    async def next(self, seconds: float) -> dict[str, Any]:
        """The next object. Raises TimeoutError and what else is in BROKEN."""
        text = await self._receive(seconds)
        frame: dict[str, Any] = json.loads(text)
        self._journal.write("got", connection=self.number, frame=frame)
        return frame

    async def next_text(self, seconds: float) -> str:
        """The next text. Raises TimeoutError and what else is in BROKEN."""
        text = await self._receive(seconds)
        self._journal.write("got", connection=self.number, frame={"text": text})
        return text

    async def close(self, by: str = "us") -> None:
        """End it, if it is not over."""
        if not self.is_open:
            return
        self.is_open = False
        self._hall.callers.pop(self._port, None)
        code = self._socket.close_code
        if code is not None and by == "us":
            by = "peer"
        self._journal.write("closed", connection=self.number, by=by, **({} if code is None else {"code": code}))
        await self._socket.close()

    async def _receive(self, seconds: float) -> str:
        async with asyncio.timeout(seconds):
            return str(await self._socket.recv())
