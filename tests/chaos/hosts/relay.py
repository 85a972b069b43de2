"""`python -m tests.chaos.hosts.relay FROM TO`: takes connections at one address and makes each go on at another.

An address is `unix:/some/path` or `tcp:host:port`. So what speaks by a Unix socket can be on another host. A network
that carries nothing for a while ends the connection: whoever speaks by a Unix socket expects nothing of the kind.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

PIECE = 65_536  # bytes
REACH = 1.0  # seconds for a connection to be made
STUCK_MS = 2_000  # for bytes to be acknowledged
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def reach(address: str) -> Ends:
    """Connect. Raises OSError."""
    kind, _, where = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.wait_for(asyncio.open_connection(host, int(port)), REACH)


async def listen(address: str, handler: Handler) -> asyncio.Server:
    """Serve. Raises OSError."""
    kind, _, where = address.partition(":")
    if kind == "unix":
        return await asyncio.start_unix_server(handler, where)
    host, _, port = where.rpartition(":")
    return await asyncio.start_server(handler, host, int(port))


def watch(writer: asyncio.StreamWriter) -> None:
    """Have a TCP connection end that carries nothing any more, also while nothing is to be said."""
    sock: socket.socket = writer.get_extra_info("socket")
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, with its end."""
    with suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(source: str, target: str) -> None:
    """For ever."""

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await reach(target)
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        for end in (writer, onward[1]):
            watch(end)
        await asyncio.gather(carry(reader, onward[1]), carry(onward[0], writer))

    async with await listen(source, passing) as server:
        sys.stdout.write("the relay is ready\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
