"""The proxy carries bytes faithfully, and breaks connections in each of its ways."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from tests.chaos.proxy import Door, Passage, Target

SOON = 2.0
NEVER = 0.15


class Ends(NamedTuple):
    """A connection through the proxy: the client's end, the server's end, the passage between them."""

    client: asyncio.StreamReader
    to_client: asyncio.StreamWriter  # at the server
    server: asyncio.StreamReader
    to_server: asyncio.StreamWriter  # at the client
    passage: Passage


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: arrived.put_nowait((reader, writer)), "127.0.0.1", 0)
    door = Door(Target(*server.sockets[0].getsockname()))
    await door.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"early")
    server_reader, server_writer = await asyncio.wait_for(arrived.get(), SOON)
    assert await server_reader.readexactly(5) == b"early"
    [passage] = door.passages
    assert passage.port == writer.get_extra_info("sockname")[1]
    yield Ends(reader, server_writer, server_reader, writer, passage)
    for one in (writer, server_writer):
        one.close()
    await door.close()
    server.close()
    await server.wait_closed()


async def test_everything_is_carried_both_ways(ends: Ends) -> None:
    much = bytes(range(256)) * 20_000
    ends.to_server.write(much)
    ends.to_client.write(much[::-1])
    assert await asyncio.wait_for(ends.server.readexactly(len(much)), SOON) == much
    assert await asyncio.wait_for(ends.client.readexactly(len(much)), SOON) == much[::-1]


async def test_a_reader_that_stops_holds_up_the_writer(ends: Ends) -> None:
    ends.client._transport.pause_reading()  # type: ignore[attr-defined]

    async def fill() -> None:
        while True:
            ends.to_client.write(bytes(1 << 20))
            await ends.to_client.drain()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(fill(), NEVER * 4)
    assert ends.passage.client.transport is not None
    assert ends.passage.client.transport.get_write_buffer_size() < 1 << 20
    ends.to_client.transport.abort()


async def test_the_end_of_one_end_is_that_of_the_other(ends: Ends) -> None:
    ends.to_server.close()
    assert await asyncio.wait_for(ends.server.read(), SOON) == b""


async def test_cut_ends_both_ends_in_order(ends: Ends) -> None:
    ends.passage.cut()
    assert await asyncio.wait_for(ends.client.read(), SOON) == b""
    assert await asyncio.wait_for(ends.server.read(), SOON) == b""


async def test_reset_is_a_reset_at_both_ends(ends: Ends) -> None:
    ends.passage.reset()
    for reader in (ends.client, ends.server):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), SOON)


async def test_half_open_swallows_everything_and_tells_nobody(ends: Ends) -> None:
    ends.passage.half_open()
    ends.to_server.write(b"x")
    ends.to_client.write(b"x")
    for reader in (ends.client, ends.server):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), NEVER)
    ends.to_server.close()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ends.server.read(), NEVER)


async def test_a_delay_keeps_the_order_and_ends(ends: Ends) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    ends.passage.delay(0.2)
    for number in range(10):
        ends.to_client.write(bytes([number]))
        await asyncio.sleep(0.01)
    assert await asyncio.wait_for(ends.client.readexactly(1), SOON) == b"\0"
    assert loop.time() - began >= 0.2
    ends.passage.delay(0)
    ends.to_client.write(b"last")
    assert await asyncio.wait_for(ends.client.readexactly(13), SOON) == bytes(range(1, 10)) + b"last"
    began = loop.time()
    ends.to_client.write(b"!")
    await asyncio.wait_for(ends.client.readexactly(1), SOON)
    assert loop.time() - began < 0.1


async def test_nobody_behind_the_door() -> None:
    closed = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    door = Door(Target("127.0.0.1", port))
    await door.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SOON)
    assert not door.passages
    writer.close()
    await door.close()
