"""Processes that are told to stop in the middle of replies: nothing is cut in two, and nobody waits for a lease."""

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.frames import Opcode

from tests.processes import lab
from tests.processes.client import JsonClient, echo_of, events, sha256, text_of
from tests.processes.service import Gateway, running_service, until

pytestmark = pytest.mark.timeout(60)

# --- a gateway --------------------------------------------------------------------------------------------------------

CLIENTS = 10
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n"
)
JSON = "Sec-WebSocket-Protocol: llm-chat.v1\r\n"


class Frame(NamedTuple):
    """As it came; `whole`: all the bytes that it announces are there."""

    opcode: int
    payload: bytes
    whole: bool


def frames_of(data: bytes) -> list[Frame]:
    """Bytes of a server, taken apart by nothing but RFC 6455, section 5.2."""
    found, at = [], 0
    while at < len(data):
        size, start = data[at + 1] & 0x7F if at + 1 < len(data) else 0, at + 2
        if size in (126, 127):
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[at + 2 : start])
        found.append(Frame(data[at] & 0x0F, data[start : start + size], start + size <= len(data)))
        at = start + size
    return found


async def bytes_of(port: int, headers: str, message: str, begun: asyncio.Event) -> bytes:
    """Ask for a reply, and read all that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE.format(headers).encode())
    await reader.readuntil(b"\r\n\r\n")
    payload = message.encode()
    writer.write(b"\x81\xfe" + len(payload).to_bytes(2) + bytes(4) + payload)  # a mask of zeros changes nothing
    data = await reader.read(20_000)
    begun.set()
    data += await reader.read()
    writer.close()
    return data


async def test_a_stopping_gateway_says_so_first_and_cuts_no_frame_in_two(tmp_path: Path) -> None:
    settings = {"LLM_CHAT_ECHO_INTERVAL": "0.001", "LLM_CHAT_ECHO_CHUNKS": "100000"}
    with running_service(tmp_path, LLM_CHAT_GATEWAY_DRAIN_DELAY="0.3", **settings) as service:
        stopping, staying = service.gateway(), service.gateway()
        service.worker()
        service.ready(stopping)
        begun = [asyncio.Event() for _ in range(CLIENTS + 1)]
        content = "x" * 300
        message = json.dumps({"type": "message", "id": "m1", "content": content})
        reading = [asyncio.ensure_future(bytes_of(stopping.port, JSON, message, event)) for event in begun[1:]]
        plain = asyncio.ensure_future(bytes_of(stopping.port, "", content, begun[0]))
        await asyncio.gather(*(event.wait() for event in begun))
        stopping.process.kill(signal.SIGTERM)
        streams = [frames_of(data) for data in await asyncio.gather(*reading)]
        for frames in streams:
            check_stream(frames)
        *texts, end = frames_of(await plain)
        assert [frame.payload.decode() for frame in texts] == [
            f"chunk {i}: {content}" for i in range(1, len(texts) + 1)
        ]
        assert end == Frame(Opcode.CLOSE, (1012).to_bytes(2), True)
        assert stopping.process.wait(5) == 0
        await check_resume(staying, [json.loads(frame.payload) for frame in streams[0][:-1]])


def check_stream(frames: list[Frame]) -> None:
    """Whole frames, the hint before the end, behind the end nothing."""
    assert all(frame.whole for frame in frames)
    assert [frame.opcode for frame in frames] == [Opcode.TEXT] * (len(frames) - 1) + [Opcode.CLOSE]
    assert frames[-1].payload[:2] == (1012).to_bytes(2)
    said = [json.loads(frame.payload) for frame in frames[:-1]]
    hint = next(place for place, frame in enumerate(said) if frame["type"] == "going_away")
    assert len(said) - hint > 20  # the stream went on meanwhile
    seqs = [int(frame["cursor"].split("-")[2]) for frame in said if "cursor" in frame]
    assert seqs == list(range(len(seqs)))


async def check_resume(gateway: Gateway, said: list[dict[str, Any]]) -> None:
    """Elsewhere it goes on with the very next event."""
    last = events(said)[-1]["cursor"]
    client = await JsonClient.open(gateway.ws)
    await client.say("resume", session_id=said[0]["session_id"], after=last)
    delta = await client.until("delta")
    assert int(delta["cursor"].split("-")[2]) == int(last.split("-")[2]) + 1
    await client.say("cancel", id="m1")
    await client.until("done")
    await client.close()


def test_the_parser_sees_what_is_cut() -> None:
    frames = [b"\x81\x02ab", b"\x81\x7e\x00\x80" + b"c" * 128, b"\x88\x02\x03\xf4"]
    whole = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in range(4)]
    for cut in range(len(whole) + 1):
        assert all(frame.whole for frame in frames_of(whole[:cut])) == (cut in ends)


# --- a worker ---------------------------------------------------------------------------------------------------------

CHUNKS, INTERVAL, GRACE = 30, 0.05, 0.6
SHORT = CHUNKS - 6  # deltas after which a reply is sure to end within the grace time


async def test_a_stopping_worker_finishes_what_it_can_and_hands_over_the_rest(tmp_path: Path) -> None:
    """With a lease of 30 s: whoever waited for that would not be done within the test's time."""
    settings = {
        **lab.install(tmp_path),
        "LLM_CHAT_ECHO_INTERVAL": str(INTERVAL),
        "LLM_CHAT_ECHO_CHUNKS": str(CHUNKS),
        "LLM_CHAT_LEASE_SECONDS": "30",
        "LLM_CHAT_WORKER_GRACE": str(GRACE),
    }
    with running_service(tmp_path, **settings) as service:
        gateway = service.gateway()
        workers = [service.worker(), service.worker(LLM_CHAT_WORKER_SLOTS="20")]
        until(lambda: gateway.get("/readyz?verbose")[1]["broker"]["workers"] == 2, 20, "two workers")
        names = ["short 0", "short 1", "short 2", "long", *(f"fresh {number}" for number in range(6))]
        clients = {name: await JsonClient.open(gateway.ws) for name in names}
        await send(clients, "short")
        await deltas(clients["short 0"], SHORT)
        await send(clients, "long")
        await deltas(clients["long"], 3)
        [pid] = pids(tmp_path, "long")
        leaving = next(worker for worker in workers if worker.children()[0].pid == pid)
        began = time.monotonic()
        leaving.kill(signal.SIGTERM)
        await asyncio.sleep(GRACE / 3)
        await send(clients, "fresh")
        await clients["long"].until("takeover")
        await clients["long"].until("delta")
        taken_over = time.monotonic() - began
        assert leaving.wait(5) == 0
        for name, client in clients.items():
            await check_reply(client, name)
            await client.close()
        assert GRACE < taken_over < GRACE + 1
        assert len(pids(tmp_path, "long")) == 2
        assert [pid] in [pids(tmp_path, name) for name in names if name.startswith("short")]
        assert not any(pid in pids(tmp_path, name) for name in names if name.startswith("fresh"))
        finished = [name for name in names if pids(tmp_path, name) == [pid]]
        assert not any(frame["type"] == "takeover" for name in finished for frame in clients[name].log)


async def send(clients: dict[str, JsonClient], kind: str) -> None:
    """All messages of a kind."""
    for name, client in clients.items():
        if name.startswith(kind):
            await client.say("message", id="m1", content=name)


async def deltas(client: JsonClient, count: int) -> None:
    """Read on to so many."""
    for _ in range(count):
        await client.until("delta")


def pids(directory: Path, name: str) -> list[int]:
    """The engine processes that the message has had, in order."""
    return list(dict.fromkeys(note.pid for note in lab.notes(directory, name)))


async def check_reply(client: JsonClient, name: str) -> None:
    """It is complete, whoever wrote it."""
    done = await client.until("done")
    assert text_of(client.log) == echo_of(name, CHUNKS)
    assert done["text_sha256"] == sha256(echo_of(name, CHUNKS))
    assert all(frame["exact"] for frame in client.log if frame["type"] == "takeover")
