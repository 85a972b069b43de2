"""The gateway as a command: what it says when it cannot start, and how it stops."""

import json
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.processes.client import JsonClient
from tests.processes.service import Gateway, Service, running_service, until

STOP_SECONDS = 5.0  # then honcho kills


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """One with nothing started."""
    with running_service(tmp_path) as service:
        yield service


def log_of(gateway: Gateway) -> list[dict[str, Any]]:
    """Every line that it wrote; anything but our own JSON would fail here."""
    return [json.loads(line) for line in gateway.process.text().splitlines()]


def wrong_start(service: Service, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit status and output of a gateway that cannot start."""
    process = service._start("gateway", settings, *arguments)
    return process.wait(10), process.text()


# --- what keeps it from starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", ["1", "3"])
def test_a_taken_port_is_one_line_and_status_1(service: Service, processes: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, text = wrong_start(service, "--port", str(port), "--processes", processes)

    assert status == 1
    assert text.splitlines() == [
        f"gateway: port {port} is already in use: another gateway? Choose another one with --port or LLM_CHAT_PORT."
    ]


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        (["--port", "high"], {}, "--port"),
        (["--colour", "red"], {}, "--colour"),
        ([], {"LLM_CHAT_GATEWAY_PING_INTERVAL": "-1"}, "LLM_CHAT_GATEWAY_PING_INTERVAL"),
        ([], {"LLM_CHAT_GATEWAY_COLOUR": "red"}, "LLM_CHAT_GATEWAY_COLOUR"),
        (["--port", "0"], {"LLM_CHAT_BROKER_URL": "amqp://localhost"}, "LLM_CHAT_BROKER_URL"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    service: Service, arguments: list[str], settings: dict[str, str], named: str
) -> None:
    status, text = wrong_start(service, *arguments, **settings)

    assert status == 2
    assert len(text.splitlines()) == 1
    assert text.startswith("gateway: ")
    assert named in text


def test_several_processes_with_a_wrong_broker_give_up(service: Service) -> None:
    status, text = wrong_start(service, "--port", "0", "--processes", "2", LLM_CHAT_BROKER_URL="amqp://localhost")

    assert status == 2
    assert set(text.splitlines()) == {
        "gateway: no broker is known for 'amqp': LLM_CHAT_BROKER_URL may be manager:, manager:///some/dir or "
        "redis://user:password@host:6379/0"
    }


# --- how it stops ---------------------------------------------------------------------------------------------------


@contextmanager
def raw(port: int, sent: bytes) -> Iterator[socket.socket]:
    """A socket that has sent something and reads nothing."""
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(sent)
        yield client


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: llm-chat.v1\r\n\r\n"
)


def stuff(client: socket.socket) -> None:
    """Have pongs sent until the gateway's side is full and reads no more."""
    payload = json.dumps({"type": "ping", "nonce": "n" * 60_000}).encode()
    frame = b"\x81\xfe" + struct.pack("!H", len(payload)) + bytes(4) + payload  # a mask of zeros changes nothing
    client.settimeout(0.5)
    with suppress(TimeoutError):
        for _ in range(10_000):
            client.sendall(frame)
        pytest.fail("the gateway takes everything from a client that reads nothing")


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything_in_time(service: Service, number: signal.Signals, processes: int) -> None:
    gateway = service.gateway("--processes", str(processes))
    idle = await JsonClient.open(gateway.ws)
    with (
        raw(gateway.port, UPGRADE) as deaf,
        raw(gateway.port, b"GET /ws HTTP/1.1\r\nHost: local") as half,
        raw(gateway.port, b""),
    ):
        deaf.recv(12)
        stuff(deaf)
        family = psutil.Process(gateway.process.pid).children(recursive=True)  # with the broker
        assert len(gateway.process.children()) == (processes if processes > 1 else 0)

        gateway.process.kill(number)
        assert (await idle.next())["type"] == "going_away"
        with pytest.raises(ConnectionClosed):
            await idle.next()
        assert idle.socket.close_code == 1012
        assert gateway.process.wait(STOP_SECONDS) == 0
        half.settimeout(1.0)
        assert half.recv(1) == b""

    assert psutil.wait_procs(family, timeout=2.0)[1] == []
    assert {line["level"] for line in log_of(gateway)} <= {"info"}


async def test_ctrl_c_reaches_parent_and_children_and_ends_them_in_order(service: Service) -> None:
    """A terminal signals the whole group; the parent then signals its children once more."""
    gateway = service.gateway("--processes", "2")
    idle = await JsonClient.open(gateway.ws)
    for child in gateway.process.children():
        child.send_signal(signal.SIGINT)
    for child in gateway.process.children():
        child.send_signal(signal.SIGTERM)
    gateway.process.kill(signal.SIGINT)

    assert (await idle.next())["type"] == "going_away"
    with pytest.raises(ConnectionClosed):
        await idle.next()
    assert idle.socket.close_code == 1012
    assert gateway.process.wait(STOP_SECONDS) == 0
    assert "Traceback" not in gateway.process.text()


async def test_a_second_signal_ends_it_at_once(service: Service) -> None:
    gateway = service.gateway(LLM_CHAT_GATEWAY_DRAIN_DELAY="60")
    idle = await JsonClient.open(gateway.ws)
    gateway.process.kill(signal.SIGTERM)
    await idle.until("going_away")
    with pytest.raises(TimeoutError):
        await idle.next(0.7)  # longer than two signals of one wish are apart

    gateway.process.kill(signal.SIGTERM)

    with pytest.raises(ConnectionClosed):
        await idle.next()
    assert idle.socket.close_code == 1006
    assert gateway.process.wait(STOP_SECONDS) == 0


async def test_while_it_stops_nobody_is_let_in(service: Service) -> None:
    gateway = service.gateway(LLM_CHAT_GATEWAY_DRAIN_DELAY="60")
    idle = await JsonClient.open(gateway.ws)
    gateway.process.kill(signal.SIGTERM)
    await idle.until("going_away")

    assert gateway.get("/livez")[0] == 200
    assert gateway.get("/readyz") == (503, {"status": "unready", "reason": "stopping"})
    with pytest.raises(InvalidStatus) as refused:
        await connect(gateway.ws)
    assert refused.value.response.status_code == 503

    await idle.close()
    assert gateway.process.wait(STOP_SECONDS) == 0


def test_a_signal_in_the_first_moment_is_no_error(service: Service) -> None:
    process = service._start("gateway", {"LLM_CHAT_PORT": "0"})
    until(lambda: _handles(process.pid, signal.SIGTERM), what="a signal handler")
    process.kill(signal.SIGTERM)

    assert process.wait(STOP_SECONDS) == 0
    assert "Traceback" not in process.text()


def _handles(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


# --- several processes ----------------------------------------------------------------------------------------------


def pids_answering(gateway: Gateway) -> set[int]:
    """Those that answered a few requests."""
    answers = [gateway.get("/readyz?verbose")[1] for _ in range(20)]
    return {body["pid"] for body in answers if body is not None}


def test_the_parent_serves_nothing_itself(service: Service) -> None:
    gateway = service.gateway("--processes", "2")
    children = {child.pid for child in gateway.process.children()}

    assert pids_answering(gateway) <= children
    assert gateway.process.stop() == 0


def test_a_process_that_dies_is_replaced(service: Service) -> None:
    gateway = service.gateway("--processes", "2")
    until(lambda: len([line for line in log_of(gateway) if line["event"] == "listening"]) == 2)
    before = gateway.process.children()
    for child in before:
        child.kill()

    until(lambda: gateway.get("/livez")[0] == 200, what="an answer")
    after = {child.pid for child in gateway.process.children()}
    assert len(after) == 2
    assert not after & {child.pid for child in before}
    assert gateway.process.stop() == 0
    deaths = [line for line in log_of(gateway) if "has died" in line["event"]]
    assert [line["how"] for line in deaths] == ["killed by SIGKILL"] * 2


def test_children_do_not_outlive_their_parent(service: Service) -> None:
    gateway = service.gateway("--processes", "2")
    children = gateway.process.children()
    gateway.process.kill(signal.SIGKILL)

    assert psutil.wait_procs(children, timeout=STOP_SECONDS)[1] == []


# --- the front door -------------------------------------------------------------------------------------------------


async def test_foreign_pages_are_refused_and_its_own_and_listed_ones_are_not(service: Service) -> None:
    gateway = service.gateway(LLM_CHAT_GATEWAY_ORIGINS="https://chat.example")
    for foreign in ("https://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(gateway.ws, additional_headers={"Origin": foreign})
        assert refused.value.response.status_code == 403
    for fine in (f"http://127.0.0.1:{gateway.port}", "https://chat.example"):
        async with connect(gateway.ws, additional_headers={"Origin": fine}):
            pass
    assert gateway.process.stop() == 0


async def test_both_loopback_addresses_answer(service: Service) -> None:
    gateway = service.gateway()
    for host in ("127.0.0.1", "[::1]", "localhost"):
        async with connect(f"ws://{host}:{gateway.port}/ws"):
            pass


async def test_bad_frames_end_their_own_connection_only(service: Service) -> None:
    gateway = service.gateway()
    good = await JsonClient.open(gateway.ws)
    for bad, code in ((b"binary", 1003), ("y" * 65_537, 1009)):
        async with connect(gateway.ws) as client:
            await client.send(bad)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
    async with connect(gateway.ws) as client:
        await client.send(b"\xff", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007

    await good.say("ping", nonce="there?")
    assert await good.next() == {"type": "pong", "nonce": "there?"}
    await good.close()
    assert gateway.process.stop() == 0
    assert {line["level"] for line in log_of(gateway)} <= {"info"}
