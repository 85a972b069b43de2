"""Django Channels on Daphne, in one process with its layer in memory: a task per reply sends by the layer.

Arguments: port, interval in seconds.
"""

import asyncio
import sys

import django
from django.conf import settings

settings.configure(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}, ALLOWED_HOSTS=["*"])
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from daphne.server import Server  # noqa: E402
from django.urls import path  # noqa: E402

CHUNKS = 5
port, interval = int(sys.argv[1]), float(sys.argv[2])


class Chat(AsyncWebsocketConsumer):
    """One session."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer without keeping the session from its next message."""
        self.replies = getattr(self, "replies", set())
        task = asyncio.create_task(self.reply(text_data or ""))
        self.replies.add(task)
        task.add_done_callback(self.replies.discard)

    async def reply(self, text: str) -> None:
        """Write one."""
        for number in range(1, CHUNKS + 1):
            if number > 1:
                await asyncio.sleep(interval)
            await self.channel_layer.send(self.channel_name, {"type": "chunk", "text": f"chunk {number}: {text}"})

    async def chunk(self, event: dict[str, str]) -> None:
        """From the layer to the socket."""
        await self.send(text_data=event["text"])


if __name__ == "__main__":
    application = ProtocolTypeRouter({"websocket": URLRouter([path("ws", Chat.as_asgi())])})
    Server(application, endpoints=[f"tcp:port={port}:interface=127.0.0.1"], verbosity=0).run()
