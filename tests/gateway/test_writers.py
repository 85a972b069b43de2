import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from gateway.writers import AsgiWriter
from tests.gateway.chatting import turns


class Peer:
    """ASGI's `send`, whose messages go only when the test lets them."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.taking = asyncio.Event()
        self.drained = 0
        self.writer = AsgiWriter(self.send)
        self.writer.on_drained = self.on_drained

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.taking.wait()
        if self.error is not None:
            raise self.error
        self.messages.append(dict(message))

    def on_drained(self) -> None:
        self.drained += 1


def text(payload: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": payload}


async def test_asgi_messages_keep_their_order_and_are_counted_until_they_are_sent() -> None:
    peer = Peer()
    peer.writer.send([b"one", "zwölf".encode()])
    await turns()
    peer.writer.send([b"three"])
    assert (peer.writer.buffered(), peer.messages) == (3 + 6 + 5, [])

    peer.taking.set()
    await turns()
    assert peer.messages == [text("one"), text("zwölf"), text("three")]
    assert (peer.writer.buffered(), peer.drained) == (0, 1)

    peer.writer.send([b"four"])
    await turns()
    assert (peer.messages[-1], peer.drained) == (text("four"), 2)


async def test_asgi_room_is_there_when_everything_is_sent() -> None:
    peer = Peer()
    await peer.writer.room()
    peer.writer.send([b"one"])
    waiting = asyncio.create_task(peer.writer.room())
    await turns()
    assert not waiting.done()
    peer.taking.set()
    await waiting


async def test_asgi_closes_once_behind_what_was_sent_before_and_drops_the_rest() -> None:
    peer = Peer()
    peer.writer.send([b"one"])
    peer.writer.close(4408, "slow")
    peer.writer.close(1000, "")
    peer.writer.send([b"too late"])
    peer.taking.set()
    await turns()
    peer.writer.send([b"much too late"])
    peer.writer.close(1000, "")
    await turns()
    assert peer.messages == [text("one"), {"type": "websocket.close", "code": 4408, "reason": "slow"}]


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed"), Exception("a server's own way to say it")])
async def test_asgi_servers_may_say_in_their_own_way_that_the_socket_is_gone(error: Exception) -> None:
    peer = Peer()
    peer.error = error
    peer.taking.set()
    peer.writer.send([b"one", b"two"])
    await turns()
    assert (peer.writer.buffered(), peer.messages) == (0, [])
    await peer.writer.room()
    peer.writer.close(1000, "")
    await turns()
    assert peer.messages == []
