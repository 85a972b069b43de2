"""One connection to a Redis server, spoken by the event loop itself: no pool, no task, no read that can be cancelled.

Requests go out as they come and their answers come back in that order (the protocol's own rule); hiredis parses.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from shared.brokers.redis import trouble
from shared.brokers.redis.address import Address

CONNECT_SECONDS = 3.0  # for the connection and all that is asked over it before it is used
Answered = Callable[[Any], None]


class Wire(asyncio.Protocol):
    """`on_lost` is called once, when it has ended, whoever ended it; `on_push` with what nobody asked for."""

    def __init__(self, address: Address, on_lost: Callable[["Wire"], None], on_push: Answered | None = None) -> None:
        self.address = address
        self._on_lost = on_lost
        self._on_push = on_push
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(replyError=hiredis.ReplyError)
        self._waiting: deque[Answered] = deque()
        self._asked: asyncio.Future[Any] | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def open(self) -> bool:
        """Whether it has not ended yet."""
        return self._transport is not None

    @property
    def talks_to_itself(self) -> bool:
        """Whether its two ends are the same."""
        ends = [self._transport.get_extra_info(end) for end in ("sockname", "peername")] if self._transport else [0, 1]
        return bool(ends[0] == ends[1])

    def send(self, requests: Sequence[tuple[Sequence[Any], Answered]]) -> None:
        """Send them in one write; each gets its answer, or nothing where the wire ends first. An error is an answer:
        a hiredis.ReplyError."""
        if self._transport is None or self._transport.is_closing():
            return
        self._waiting.extend(answered for _, answered in requests)
        self._transport.write(b"".join([hiredis.pack_command(tuple(words)) for words, _ in requests]))

    async def ask(self, *words: Any) -> Any:
        """One request. Raises trouble.Trouble, trouble.Moved, ConnectionResetError."""
        self._asked = asyncio.get_running_loop().create_future()
        self.send([(words, self._tell)])
        if not self.open:
            raise ConnectionResetError
        result = await self._asked
        if isinstance(result, hiredis.ReplyError):
            raise trouble.of_error(self.address, str(result))
        return result

    def _tell(self, result: Any) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(result)

    def close(self) -> None:
        """End the connection once what was sent is on its way."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it now: the other end does not answer."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._waiting.clear()
        if not self.ended.done():
            self.ended.set_result(None)
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(ConnectionResetError())
            self._asked.exception()
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        reader = self._reader
        reader.feed(data)
        try:
            while (answer := reader.gets()) is not False:
                if self._waiting:
                    self._waiting.popleft()(answer)
                elif self._on_push is not None:
                    self._on_push(answer)
        except hiredis.ProtocolError:
            self.abort()


async def open_wire(
    address: Address, name: str, on_lost: Callable[[Wire], None], on_push: Answered | None = None
) -> Wire:
    """Connect, and say who we are. Raises trouble.Trouble, trouble.Moved."""
    loop = asyncio.get_running_loop()
    wire = Wire(address, on_lost, on_push)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls)
            if wire.talks_to_itself:  # as a socket can where nobody listens on a port of the range for clients
                raise ConnectionRefusedError
            if address.password:
                await wire.ask(b"AUTH", *filter(None, (address.user, address.password)))
            if address.database:
                await wire.ask(b"SELECT", str(address.database))
            await wire.ask(b"CLIENT", b"SETNAME", "".join(c if c.isalnum() or c in "-._" else "-" for c in name))
    except BaseException as error:
        wire.abort()
        if isinstance(error, OSError | EOFError | TimeoutError):
            raise trouble.of_exception(address, error) from None
        raise
    return wire
