"""The way from an outbox to a socket through ASGI's `send`. Our own server class is a writer itself."""

import asyncio
from collections.abc import Callable

from starlette.types import Send

from gateway.outbox import ROOM


class AsgiWriter:
    """See gateway.outbox.Writer. For any ASGI server: a task of its own, while there is something to send."""

    def __init__(self, send: Send) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._send = send
        self._payloads: list[bytes] = []
        self._buffered = 0
        self._closing: tuple[int, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def send(self, payloads: list[bytes]) -> None:
        """See gateway.outbox.Writer."""
        if self._closing is None:
            self._payloads += payloads
            self._buffered += sum(map(len, payloads))
            self._start()

    @property
    def full(self) -> bool:
        """See gateway.outbox.Writer."""
        return self._buffered > ROOM

    def buffered(self) -> int:
        """Bytes that `send` has not taken yet."""
        return self._buffered

    async def room(self) -> None:
        """Return when everything is sent, or the socket is gone."""
        await self._room.wait()

    def close(self, code: int, reason: str) -> None:
        """See gateway.outbox.Writer."""
        if self._closing is None:
            self._closing = (code, reason)
            self._start()

    def _start(self) -> None:
        self._room.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._payloads:
                payloads, self._payloads = self._payloads, []
                for payload in payloads:
                    await self._send({"type": "websocket.send", "text": payload.decode()})
                    self._buffered -= len(payload)
            if self._closing is not None:
                code, reason = self._closing
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:  # every server has its own for a socket that is gone; the endpoint hears of it by `receive`
            self._payloads, self._buffered = [], 0
        finally:
            self._room.set()
        if self.on_drained is not None:
            self.on_drained()
