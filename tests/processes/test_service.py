"""The service as a whole, through its front door, while things die."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.processes.client import JsonClient, echo_of, events, sha256, text_of
from tests.processes.service import Service, running_service, until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """One with nothing started."""
    with running_service(tmp_path) as service:
        yield service


async def test_wscat_sees_five_chunks(service: Service) -> None:
    gateway = service.gateway()
    service.worker()
    service.ready(gateway)
    async with connect(gateway.ws) as socket:
        for message in ("Hello, LLM!", "two\nlines"):
            await socket.send(message)
            assert [await socket.recv() for _ in range(5)] == [f"chunk {i}: {message}" for i in range(1, 6)]


async def test_a_message_waits_for_a_worker_that_comes_later(service: Service) -> None:
    gateway = service.gateway()
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content="early")
    assert (await client.until("accepted"))["queue_position"] == 0
    status, body = gateway.get("/readyz")
    assert status == 503
    assert "worker" in body["reason"]
    service.worker()
    await client.until("done", seconds=15)
    assert text_of(client.log) == echo_of("early")
    await client.close()


async def test_a_worker_may_be_started_first(service: Service) -> None:
    worker = service.worker()
    until(lambda: "waiting for the broker" in worker.text(), what="a word in the log")
    gateway = service.gateway()
    service.ready(gateway)
    async with connect(gateway.ws) as socket:
        await socket.send("x")
        assert await socket.recv() == "chunk 1: x"


async def test_resume_at_every_event_on_another_process(service: Service) -> None:
    """Two gateways share one broker; each connection is dropped at its next event and resumed at the other one."""
    gateways = [service.gateway(), service.gateway()]
    service.worker()
    for gateway in gateways:
        service.ready(gateway)
    pids = [gateway.get("/readyz?verbose")[1]["pid"] for gateway in gateways]
    assert pids[0] != pids[1]

    client = await JsonClient.open(gateways[0].ws)
    await client.say("message", id="m1", content="follow me")
    session = (await client.until("session"))["session_id"]
    seen, turn = [await client.until("started")], 0
    while seen[-1]["type"] != "done":
        await client.close()
        turn += 1
        client = await JsonClient.open(gateways[turn % 2].ws)
        assert gateways[turn % 2].served_by(client.port) == pids[turn % 2]
        await client.say("resume", session_id=session, after=seen[-1]["cursor"])
        assert (await client.next())["recovered"] is True
        seen.append(await client.next())
    assert [event["type"] for event in seen] == ["started", *["delta"] * 5, "done"]
    assert text_of(seen) == echo_of("follow me")
    assert seen[-1]["text_sha256"] == sha256(echo_of("follow me"))

    await client.close()
    client = await JsonClient.open(gateways[0].ws)
    await client.say("resume", session_id=session)
    await client.until("done")
    assert events(client.log) == seen  # replayed as it was live, field for field
    await client.close()


async def test_resume_among_three_processes_on_one_port(service: Service) -> None:
    gateway = service.gateway("--processes", "3")
    service.worker()
    service.ready(gateway)
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content="here and there")
    session = (await client.until("session"))["session_id"]
    seen, served = [await client.until("started")], {gateway.served_by(client.port)}
    while seen[-1]["type"] != "done" or len(served) < 2:
        await client.close()
        client = await JsonClient.open(gateway.ws)
        served.add(gateway.served_by(client.port))
        await client.say("resume", session_id=session, after=seen[-1]["cursor"])
        assert (await client.next())["type"] == "session"
        if seen[-1]["type"] != "done":
            seen.append(await client.next())
    assert text_of(seen) == echo_of("here and there")
    assert served <= {child.pid for child in gateway.process.children()}
    await client.close()


async def test_kill_9_of_an_engine_process_goes_unnoticed(service: Service) -> None:
    gateway = service.gateway()
    worker = service.worker(LLM_CHAT_ECHO_INTERVAL="0.3")
    service.ready(gateway)
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content="hold on")
    async with connect(gateway.ws) as plain:
        await plain.send("hold on")
        assert await plain.recv() == "chunk 1: hold on"
        await client.until("delta")
        [engine] = worker.children()
        engine.kill()
        assert [await plain.recv() for _ in range(4)] == [f"chunk {i}: hold on" for i in range(2, 6)]
    done = await client.until("done")
    takeover = next(event for event in client.log if event["type"] == "takeover")
    assert (takeover["exact"], takeover["attempt"]) == (True, 2)
    assert text_of(client.log) == echo_of("hold on")
    assert done["text_sha256"] == sha256(echo_of("hold on"))
    await client.close()


async def test_stop_from_another_gateway(service: Service) -> None:
    here, there = service.gateway(), service.gateway()
    service.worker(LLM_CHAT_ECHO_CHUNKS="10000")
    service.ready(here)
    client = await JsonClient.open(here.ws)
    await client.say("message", id="m1", content="endless")
    session = (await client.until("session"))["session_id"]
    await client.until("delta")
    other = await JsonClient.open(there.ws)
    await other.say("resume", session_id=session)
    await other.until("delta")
    await other.say("cancel", id="m1")
    done = await client.until("done")
    assert done["finish_reason"] == "cancelled"
    deltas = [event for event in client.log if event["type"] == "delta"]
    assert done["receipt"]["delivered"] == len(deltas)
    assert done["receipt"]["generated"] - done["receipt"]["delivered"] <= 2
    assert done["text_sha256"] == sha256(text_of(client.log))
    assert (await other.until("done")) == done
    with pytest.raises(TimeoutError):
        await client.next(0.3)
    await client.close()
    await other.close()


async def test_a_killed_broker_is_told_to_every_client(service: Service) -> None:
    gateway = service.gateway(LLM_CHAT_ECHO_INTERVAL="0.5")
    service.worker(LLM_CHAT_ECHO_INTERVAL="0.5")
    service.ready(gateway)
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content="fragile")
    await client.until("delta")
    async with connect(gateway.ws) as plain:
        await plain.send("fragile")
        assert await plain.recv() == "chunk 1: fragile"
        broker = service.broker_process()
        assert broker is not None
        broker.kill()
        lost = await client.until("session", seconds=5)
        assert (lost["recovered"], lost["open"]) == (False, [])
        assert "the broker is gone" in gateway.process.text()
        while not (frame := str(await asyncio.wait_for(plain.recv(), 5))).startswith("error: "):
            pass
        assert frame.startswith("error: lost: ")
        await client.say("message", id="m2", content="again")
        done = await client.until("done")
        assert done["id"] == "m2"
        assert text_of([event for event in client.log if event.get("id") == "m2"]) == echo_of("again")
        await plain.send("again")
        assert [await plain.recv() for _ in range(5)] == [f"chunk {i}: again" for i in range(1, 6)]
    await client.close()


async def test_a_broker_that_does_not_answer(service: Service) -> None:
    gateway = service.gateway()
    service.worker()
    service.ready(gateway)
    client = await JsonClient.open(gateway.ws)
    await client.say("message", id="m1", content="before")
    await client.until("done")
    broker = service.broker_process()
    assert broker is not None
    broker.suspend()
    try:
        await client.say("message", id="m2", content="during")
        refused = await client.until("error")
        assert (refused["code"], refused["id"], refused["retryable"]) == ("broker_unavailable", "m2", True)
        assert gateway.get("/readyz")[0] == 503
    finally:
        broker.resume()
    await client.say("message", id="m2", content="during")
    await client.until("done")
    assert text_of([event for event in client.log if event.get("id") == "m2"]) == echo_of("during")
    await client.close()


async def test_everything_ends_in_time(service: Service) -> None:
    """A running stream, a reader that never reads, a half-sent handshake, three gateway processes: SIGTERM to all."""
    gateway = service.gateway("--processes", "3")
    worker = service.worker("--processes", "2", LLM_CHAT_ECHO_CHUNKS="100000", LLM_CHAT_ECHO_INTERVAL="0.001")
    service.ready(gateway)
    running = await JsonClient.open(gateway.ws)
    await running.say("message", id="m1", content="x" * 1000)
    await running.until("delta")
    deaf, half = _never_reads(gateway.port), socket.create_connection(("127.0.0.1", gateway.port))
    half.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr")
    family = [child.pid for process in (gateway.process, worker) for child in process.children()]
    broker = service.broker_process()
    assert broker is not None

    gateway.process.kill(signal.SIGTERM)
    worker.kill(signal.SIGTERM)
    with pytest.raises(ConnectionClosed):
        await running.until("never")
    assert any(frame["type"] == "going_away" for frame in running.log)
    assert running.socket.close_code == 1012
    assert gateway.process.wait(5) == 0
    assert worker.wait(5) == 0
    until(lambda: not any(psutil.pid_exists(pid) for pid in [*family, broker.pid]), 2, "the end of all processes")
    assert not list(service.broker.glob("*.sock"))
    for process in (gateway.process, worker):
        assert "Traceback" not in process.text()
    deaf.close()
    half.close()


def _never_reads(port: int) -> socket.socket:
    """A client that asks for an endless reply and never reads it."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.send(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    sock.recv(12)
    payload = b"y" * 1000
    sock.send(b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload)
    return sock


@pytest.mark.parametrize(("clients", "messages"), [(50, 10), pytest.param(200, 50, marks=pytest.mark.slow)])
@pytest.mark.timeout(120)
async def test_many_clients_every_chunk(service: Service, clients: int, messages: int) -> None:
    gateway = service.gateway()
    service.worker(LLM_CHAT_ECHO_INTERVAL="0")
    service.ready(gateway)

    async def chat(number: int) -> None:
        async with connect(gateway.ws) as socket:
            for count in range(messages):
                message = f"{number}/{count}"
                await socket.send(message)
                assert [await socket.recv() for _ in range(5)] == [f"chunk {i}: {message}" for i in range(1, 6)]

    await asyncio.gather(*map(chat, range(clients)))
