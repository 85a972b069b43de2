"""What most would write first: Starlette, and a `multiprocessing.Manager` queue per session, read by a thread each.

Nothing is kept, nothing recovered. Arguments: port, interval in seconds between two chunks.
"""

import asyncio
import multiprocessing
import sys
import threading
import time
import uuid
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

CHUNKS = 5


def work(requests: Any, replies: Any, interval: float) -> None:
    """The worker process: a thread per reply."""
    while True:
        session, text = requests.get()
        threading.Thread(target=reply, args=(replies[session], text, interval), daemon=True).start()


def reply(queue: Any, text: str, interval: float) -> None:
    """Write one."""
    for number in range(1, CHUNKS + 1):
        if number > 1:
            time.sleep(interval)
        queue.put(f"chunk {number}: {text}")


class Gateway:
    """The process that holds the sockets."""

    def __init__(self, manager: Any, requests: Any, replies: Any) -> None:
        self._manager = manager
        self._requests = requests
        self._replies = replies

    async def chat(self, socket: WebSocket) -> None:
        """One session."""
        await socket.accept()
        session = uuid.uuid4().hex
        queue = await asyncio.to_thread(self._manager.Queue)
        await asyncio.to_thread(self._replies.__setitem__, session, queue)
        pump = threading.Thread(target=self._pump, args=(queue, socket, asyncio.get_running_loop()), daemon=True)
        pump.start()
        try:
            while True:
                text = await socket.receive_text()
                await asyncio.to_thread(self._requests.put, (session, text))
        except WebSocketDisconnect:
            await asyncio.to_thread(self._replies.pop, session)
            await asyncio.to_thread(queue.put, None)

    def _pump(self, queue: Any, socket: WebSocket, loop: asyncio.AbstractEventLoop) -> None:
        while (chunk := queue.get()) is not None:
            asyncio.run_coroutine_threadsafe(socket.send_text(chunk), loop)


def main(port: int, interval: float) -> None:
    """Serve until stopped."""
    manager = multiprocessing.Manager()
    requests, replies = manager.Queue(), manager.dict()
    multiprocessing.Process(target=work, args=(requests, replies, interval), daemon=True).start()
    gateway = Gateway(manager, requests, replies)
    app = Starlette(routes=[WebSocketRoute("/ws", gateway.chat)])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
