"""Who may use it, with real processes: two gateways, one file of keys, commands that change it, and what they log."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.gateway.auth.tokens import SECRET, token
from tests.gateway.serving import UPGRADE, raw_client, read_to_end
from tests.processes.client import JsonClient
from tests.processes.service import ROOT, Gateway, Service, running_service

pytestmark = pytest.mark.timeout(90)
V1 = "llm-chat.v1"
SESSIONS = 50  # of each owner
BRIEF = 3  # seconds that a key is good


class Guarded:
    """Two gateway processes and a worker, all of them as talkative as they can be."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.secrets: list[str] = []
        (service.directory / "jwt").write_bytes(SECRET)
        self.ann, self.ann_id = self.key("ann")
        self.one, self.other = service.gateway(), service.gateway()
        service.worker()
        service.ready(self.one)

    def key(self, owner: str, *arguments: str) -> tuple[str, str]:
        """A new key and its id."""
        made = self.command("create", "--owner", owner, *arguments)
        key = made.stdout.strip()
        self.secrets.append(key)
        return key, key.split("_")[1]

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`python -m gateway.keys ...`."""
        command = [sys.executable, "-m", "gateway.keys", *arguments]
        environment = {**os.environ, **self.service.environment}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    def ticket(self, gateway: Gateway, bearer: str) -> str:
        """The subprotocol."""
        url = f"http://127.0.0.1:{gateway.port}/api/tickets"
        request = urllib.request.Request(url, method="POST", headers={"authorization": f"Bearer {bearer}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            found = json.loads(answer.read())
        self.secrets.append(found["ticket"])
        return str(found["subprotocol"])

    def logs(self) -> str:
        """Everything that any process has written, and their broker too."""
        files = [*self.service.directory.glob("*.log"), *self.service.broker.glob("*.log")]
        assert len(files) >= 4
        return "".join(file.read_text(errors="replace") for file in files)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    settings = {
        "LLM_CHAT_AUTH_KEYS": str(directory / "own" / "keys.json"),
        "LLM_CHAT_AUTH_JWT_KEY": str(directory / "jwt"),
        "LLM_CHAT_LOG_LEVEL": "debug",
    }
    with running_service(directory, **settings) as service:
        yield Guarded(service)


def wscat(gateway: Gateway, bearer: str) -> Any:
    """A plain client with a header."""
    return connect(gateway.ws, additional_headers={"authorization": f"Bearer {bearer}"})


def browser(gateway: Gateway, *names: str) -> Any:
    """One that can choose nothing but subprotocols, and says where its page is from."""
    given: Any = [V1, *names]
    return connect(gateway.ws, subprotocols=given, origin=f"http://127.0.0.1:{gateway.port}")  # type: ignore[arg-type]


async def status(opening: Any) -> int:
    """That of an upgrade that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        await opening
    return refused.value.response.status_code


async def closed(socket: ClientConnection) -> tuple[int, float]:
    """The code with which the server closes it, and when."""
    async with asyncio.timeout(15):
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, time.time()


async def test_keys_tokens_and_tickets_and_nothing_of_them_in_any_log(guarded: Guarded) -> None:
    one, other = guarded.one, guarded.other
    briefly, _ = guarded.key("ann", "--expires", f"{BRIEF}s")
    expires_at = time.time() + BRIEF
    async with wscat(one, guarded.ann) as socket:
        await socket.send("Hello")
        assert [await socket.recv() for _ in range(5)] == [f"chunk {n}: Hello" for n in range(1, 6)]
    async with browser(other, f"llm-chat.key.{guarded.ann}") as socket:
        assert socket.subprotocol == V1
        assert guarded.ann not in str(socket.response.headers)
    signed = token(exp=time.time() + 60)
    guarded.secrets.append(signed)
    async with wscat(one, signed), browser(other, f"llm-chat.key.{signed}"):
        pass
    await asyncio.sleep(1.1)  # in which the new key becomes known
    brief = asyncio.ensure_future(closed(await wscat(one, briefly)))

    ticket = guarded.ticket(one, guarded.ann)
    held = await browser(other, ticket)  # made by one process, taken by another
    for gateway in (one, other):
        assert await status(browser(gateway, ticket)) == 401

    for refused in (connect(one.ws), wscat(one, guarded.ann[:-1] + "_"), browser(one, "llm-chat.key.x")):
        assert await status(refused) == 401
    guarded.secrets.append(guarded.ann[:-1] + "_")
    for head in odd_requests(guarded.ann):
        async with raw_client(one.port, head) as client:
            assert await read_to_end(client)

    by_key = await wscat(one, guarded.ann)
    revoked_at = time.time()
    guarded.command("revoke", guarded.ann_id)
    for socket in (held, by_key):
        code, at = await closed(socket)
        assert code == 4401
        assert at - revoked_at < 5
    assert await status(wscat(one, guarded.ann)) == 401
    code, at = await brief
    assert code == 4401
    assert expires_at - 1 < at < expires_at + 5

    logs = guarded.logs()
    assert '"level": "debug"' in logs or '"level": "info"' in logs
    for secret in guarded.secrets:
        for part in (secret, secret[-30:], secret[:60] if len(secret) > 100 else secret):
            assert part not in logs
    assert "Traceback" not in logs


def odd_requests(key: str) -> list[bytes]:
    """What a server might complain of, and quote, each with a key in it; all of them end the connection."""
    get, end = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"\r\n\r\n"
    bearer = f"Authorization: Bearer {key}".encode()
    upgrade = UPGRADE + b"Sec-WebSocket-Protocol: llm-chat.v1 llm-chat.key." + key.encode()
    return [
        upgrade + end,
        upgrade + b";x=1" + end,
        UPGRADE + b"Sec-WebSocket-Version: 12\r\n" + bearer + end,
        get + bearer + end,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + bearer + b"\r\nbad header\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: x\r\n" + bearer + end,
        b"GET /ws?key=" + key.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close" + end,
    ]


@pytest.mark.slow
async def test_two_owners_with_fifty_sessions_each_on_two_processes(guarded: Guarded) -> None:
    keys = {owner: guarded.key(owner)[0] for owner in ("ann", "bob")}
    gateways = (guarded.one, guarded.other)
    await asyncio.sleep(1.1)  # in which the new key becomes known
    sessions = {owner: await begin_all(key, gateways) for owner, key in keys.items()}
    for owner, thief in (("ann", "bob"), ("bob", "ann")):
        for gateway in gateways:
            await try_all(await open_json(gateway, keys[thief]), sessions[owner])
            mine = await open_json(gateway, keys[owner])
            session, cursor = sessions[owner][7]
            await mine.say("resume", session_id=session, after=cursor)
            assert (await mine.until("session"))["session_id"] == session
            await mine.close()


async def open_json(gateway: Gateway, key: str) -> JsonClient:
    names: Any = [V1, f"llm-chat.key.{key}"]
    return JsonClient(await connect(gateway.ws, subprotocols=names))


async def begin_all(key: str, gateways: tuple[Gateway, Gateway]) -> list[tuple[str, str]]:
    """Each with a reply under way or done; with its last cursor."""

    async def begin(number: int) -> tuple[str, str]:
        client = await open_json(gateways[number % 2], key)
        await client.say("message", id=f"m{number}", content="mine")
        cursor = (await client.until("delta"))["cursor"]
        await client.close()
        return client.log[0]["session_id"], cursor

    return list(await asyncio.gather(*map(begin, range(SESSIONS))))


async def try_all(thief: JsonClient, sessions: list[tuple[str, str]]) -> None:
    """All of them, with and without a cursor, and their ids."""
    for number, (session, cursor) in enumerate(sessions):
        await thief.say("resume", session_id=session)
        await thief.say("resume", session_id=session, after=cursor)
        await thief.say("cancel", id=f"m{number}")
        codes = [(await thief.next()).get("code") for _ in range(3)]
        assert sorted(map(str, codes)) == ["session_not_found", "session_not_found", "unknown_id"]
    await thief.close()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "gateway.keys create"),
        pytest.param({"LLM_CHAT_AUTH_JWT_KEY": "x"}, "there is no such file", marks=pytest.mark.slow),
    ],
)
def test_a_gateway_that_would_be_open_to_all_does_not_start(tmp_path: Path, more: dict[str, str], said: str) -> None:
    environment = {
        **os.environ,
        "LLM_CHAT_BROKER_URL": f"manager://{tmp_path / 'broker'}",
        "LLM_CHAT_AUTH_KEYS": str(tmp_path / "keys.json"),
        **more,
    }
    command = [sys.executable, "-m", "gateway", "--host", "0.0.0.0", "--port", "0"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr
    assert not (tmp_path / "broker").exists()
