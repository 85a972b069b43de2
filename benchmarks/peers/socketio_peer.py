"""python-socketio on uvicorn, in one process: a task per reply. Arguments: port, interval in seconds."""

import sys

import socketio
import uvicorn

CHUNKS = 5
port, interval = int(sys.argv[1]), float(sys.argv[2])
server = socketio.AsyncServer(async_mode="asgi")


@server.event
async def message(session: str, text: str) -> None:
    """Answer without keeping the session from its next message."""
    server.start_background_task(reply, session, text)


async def reply(session: str, text: str) -> None:
    """Write one."""
    for number in range(1, CHUNKS + 1):
        if number > 1:
            await server.sleep(interval)
        await server.emit("chunk", f"chunk {number}: {text}", to=session)


if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=port, log_level="warning")
