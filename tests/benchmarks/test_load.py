"""The load generator, as a process, against servers that do wrong."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.generator import Load, Part
from benchmarks.histogram import greatest
from tests.conftest import require

pytestmark = pytest.mark.keeps("threads")  # those that wait for the process are kept by asyncio
Answer = Callable[[str], list[str | float]]  # frames, and seconds to wait between them
SHORT = (("seconds", "0.1s"), ("patience", "0.3s"))


@pytest.fixture(autouse=True, scope="module")
def needs_go() -> None:
    require(shutil.which("go"), "needs Go: apt-get install golang-go")


def whole(text: str) -> list[str | float]:
    return [f"chunk {number}: {text}" for number in range(1, 6)]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server that answers each message by these frames; its address."""

    async def chat(socket: ServerConnection) -> None:
        async for text in socket:
            for frame in answer(str(text)):
                if isinstance(frame, float):
                    await asyncio.sleep(frame)
                else:
                    await socket.send(frame)

    async with serve(chat, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"127.0.0.1:{port}"


async def result(answer: Answer, connections: int = 3, options: tuple[tuple[str, str], ...] = SHORT) -> dict[str, Any]:
    async with serving(answer) as address:
        load = Load(address, "/", "plain", [Part(connections, options)])
        try:
            connected = await asyncio.to_thread(load.connected)
            assert connected["open"] == connections
            return await asyncio.to_thread(load.measured)
        finally:
            await asyncio.to_thread(load.close)


async def test_a_server_that_does_right_has_no_faults() -> None:
    found = await result(lambda text: [0.001, *whole(text)])
    assert sum(found["faults"].values()) == 0
    assert found["replies"] >= 3
    assert found["chunks"] == found["replies"] * 5
    assert len(found["first"]) == len(found["whole"]) == found["replies"]
    assert len(found["between"]) == found["replies"] * 4


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda text: [*whole(text)[:2], *whole(text)[3:]], "missing"),
        (lambda text: whole(text)[:4], "missing"),
        (lambda text: [], "missing"),
        (lambda text: [whole(text)[0], *whole(text)], "doubled"),
        (lambda text: [*whole(text), whole(text)[4]], "doubled"),
        (lambda text: [*whole(text)[:4], f"chunk 5: {text}!"], "wrong"),
        (lambda text: whole(text.replace("c0.", "c1.")), "wrong"),
        (lambda text: ["error: internal: something", *whole(text)], "wrong"),
    ],
    ids=["one left out", "no end", "nothing", "twice at once", "one too many", "another text", "another's", "an error"],
)
async def test_each_fault_is_noticed(answer: Answer, kind: str) -> None:
    found = await result(answer)
    assert found["faults"][kind] > 0
    assert found["samples"]


async def test_connections_that_are_lost_are_counted() -> None:
    async def chat(socket: ServerConnection) -> None:
        await socket.recv()

    async with serve(chat, "127.0.0.1", 0, compression=None) as server:
        load = Load(f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", "/", "plain", [Part(2, SHORT)])
        try:
            await asyncio.to_thread(load.connected)
            found = await asyncio.to_thread(load.measured)
        finally:
            await asyncio.to_thread(load.close)
    assert found["faults"]["closed"] == 2
    assert found["faults"]["missing"] == 10


async def test_refused_handshakes_are_counted() -> None:
    async with serving(whole) as address:
        pass
    load = Load(address, "/", "plain", [Part(2, SHORT)])
    try:
        found = await asyncio.to_thread(load.connected)
    finally:
        await asyncio.to_thread(load.close)
    assert found["faults"]["refused"] == 2


async def test_a_pause_of_the_server_shows_in_all_that_was_due_meanwhile() -> None:
    """Coordinated omission: one pause of 0.4 s at 500 messages per second keeps 200 waiting, not one per connection.
    Those that were due in its first 0.3 s see at least 0.1 s."""
    paused = False

    async def chat(socket: ServerConnection) -> None:
        nonlocal paused
        async for text in socket:
            if not paused:
                paused = True
                loop = asyncio.get_running_loop()
                until = loop.time() + 0.4
                while loop.time() < until:  # nobody is served meanwhile
                    pass
            for frame in whole(str(text)):
                await socket.send(str(frame))

    options = (("seconds", "1s"), ("rate", "500"), ("patience", "5s"))
    async with serve(chat, "127.0.0.1", 0, compression=None) as server:
        load = Load(f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", "/", "plain", [Part(4, options)])
        try:
            await asyncio.to_thread(load.connected)
            found = await asyncio.to_thread(load.measured)
        finally:
            await asyncio.to_thread(load.close)
    late = sum(count for index, count in found["first"].pairs() if greatest(index) >= 100_000)
    assert sum(found["faults"].values()) == 0
    assert late > 100
    assert len(found["whole"]) == found["sent"]


async def test_a_generator_that_was_held_up_says_so() -> None:
    async with serving(lambda text: [0.002, *whole(text)]) as address:
        load = Load(address, "/", "plain", [Part(1, (("seconds", "1s"), ("rate", "20")))])
        try:
            await asyncio.to_thread(load.connected)
            measured = asyncio.create_task(asyncio.to_thread(load.measured))
            for _ in range(8):  # more than one in a hundred of its turns
                await asyncio.sleep(0.05)
                os.kill(load.pids()[0], signal.SIGSTOP)
                await asyncio.sleep(0.05)
                os.kill(load.pids()[0], signal.SIGCONT)
            found = await measured
        finally:
            await asyncio.to_thread(load.close)
    assert any("late" in limit for limit in found["limits"])


async def test_pings_are_answered_while_nothing_is_asked() -> None:
    async def chat(socket: ServerConnection) -> None:
        await socket.wait_closed()

    server = await serve(chat, "127.0.0.1", 0, compression=None, ping_interval=0.1, ping_timeout=0.2)
    async with server:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        load = Load(address, "/", "plain", [Part(2, (("seconds", "0s"),))])
        try:
            await asyncio.to_thread(load.connected)
            await asyncio.sleep(0.8)
            assert len(server.connections) == 2
            await asyncio.to_thread(load.measured)
            await asyncio.sleep(0.8)
            assert len(server.connections) == 2
        finally:
            await asyncio.to_thread(load.close)


def test_a_part_that_is_split_stays_the_same_in_all() -> None:
    part = Part(40_001, (("rate", "2000"), ("messages", "40001"), ("seconds", "9s")))
    pieces = part.split()
    assert sum(piece.connections for piece in pieces) == 40_001
    assert sum(float(dict(piece.options)["rate"]) for piece in pieces) == pytest.approx(2000)
    assert sum(int(dict(piece.options)["messages"]) for piece in pieces) == 40_001
    assert all(piece.connections <= 15_000 for piece in pieces)
