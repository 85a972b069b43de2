"""Whatever is wrong with the server is one sentence that says what to do, and never shows a password."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from shared.broker import NoBroker
from shared.brokers import check_broker, open_gateway_broker
from shared.brokers.redis import trouble
from shared.brokers.redis.address import parse
from shared.settings import BrokerSettings, Settings
from tests.redis_server import RedisServer, free_port

SECRET = "hunter2-and-more"


def settings(url: str) -> Settings:
    return Settings(broker=BrokerSettings(url=url))


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """One with a password, and a user who may do little."""
    server = RedisServer()
    server.run("ACL", "SETUSER", "little", "on", f">{SECRET}", "~other:*", "+@all")
    server.run("CONFIG", "SET", "requirepass", SECRET)
    yield server
    server.remove()


async def sentence(url: str) -> str:
    with pytest.raises(NoBroker) as raised:
        await check_broker(settings(url))
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"redis://:{SECRET}@:1", "is no Redis URL"),
        (f"redis://ann:{SECRET}@host:port/0", "is no Redis URL"),
        (f"redis://ann:{SECRET}@localhost/zero", "names no database"),
        (f"redis://ann:{SECRET}@localhost/0?timeout=3", "an option that is not known"),
        (f"rediss://ann:{SECRET}@localhost/0?ssl_ca_certs=/nowhere", "a certificate that cannot be read"),
    ],
)
async def test_a_wrong_url(url: str, said: str) -> None:
    assert said in await sentence(url)


async def test_a_refused_connection() -> None:
    said = await sentence(f"redis://ann:{SECRET}@127.0.0.1:{free_port()}/0")
    assert "refuses the connection: start it, or correct LLM_CHAT_BROKER_URL" in said


async def test_a_name_that_nobody_knows() -> None:
    assert "cannot be reached" in await sentence("redis://nobody.invalid/0")


async def test_a_server_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.brokers.redis.wire.CONNECT_SECONDS", 0.2)
    accepted: list[asyncio.StreamWriter] = []
    mute = await asyncio.start_server(lambda reader, writer: accepted.append(writer), "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    assert "does not answer" in await sentence(f"redis://ann:{SECRET}@127.0.0.1:{port}/0")
    for writer in accepted:
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])
    mute.close()


async def test_no_password_a_wrong_one_and_the_right_one(guarded: RedisServer) -> None:
    for given in ("", ":wrong@", f"ann:{SECRET}@"):
        assert "refuses the password" in await sentence(guarded.url.replace("127", f"{given}127", 1))
    await check_broker(settings(guarded.url.replace("127", f":{SECRET}@127", 1)))


async def test_a_user_who_may_not(guarded: RedisServer) -> None:
    said = await sentence(guarded.url.replace("127", f"little:{SECRET}@127", 1))
    assert f"give it {trouble.PERMISSIONS}" in said


async def test_the_permissions_that_are_named_are_enough(server: RedisServer) -> None:
    server.run("ACL", "SETUSER", "chat", "on", f">{SECRET}", "resetkeys", "resetchannels", *trouble.PERMISSIONS.split())
    chosen = settings(server.url.replace("127", f"chat:{SECRET}@127", 1))
    await check_broker(chosen)
    gateway = await open_gateway_broker(chosen, "gateway")
    await gateway.open("s", "ann", None, None)
    assert (await gateway.drain()).lost
    assert (await gateway.attach("s", None)).newest == -1
    await gateway.close()


async def test_a_database_that_is_not_there(server: RedisServer) -> None:
    assert "has no such database" in await sentence(server.url.replace("/0", "/99"))


class Old:
    """A server that says it is too old, or whatever else it is told to say."""

    def __init__(self, version: str) -> None:
        self._version = version

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            about = f"redis_version:{self._version}\r\nrun_id:abc\r\n"
            writer.write(b"+OK\r\n" if not self._asked() else f"${len(about)}\r\n{about}\r\n".encode())
        writer.close()

    asked = 0

    def _asked(self) -> bool:
        self.asked += 1
        return self.asked > 1  # behind CLIENT SETNAME


async def test_too_old_a_server() -> None:
    old = await asyncio.start_server(Old("5.0.14").serve, "127.0.0.1", 0)
    said = await sentence(f"redis://127.0.0.1:{old.sockets[0].getsockname()[1]}/0")
    assert "is 5.0.14: 6.2 or newer is needed" in said
    old.close()


@pytest.mark.parametrize(("version", "old"), [("6.0.16", True), ("6.2.0", False), ("7.2.4", False), ("10.0.1", False)])
def test_versions(version: str, old: bool) -> None:
    assert trouble.too_old(version) is old


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "is full: raise its maxmemory"),
        ("READONLY You can't write against a read only replica.", "is a replica: name its master"),
        ("LOADING Redis is loading the dataset in memory", "is not ready yet (LOADING)"),
        ("MISCONF Redis is configured to save RDB snapshots", "cannot write its file"),
        ("STRANGE thing", "answers with an error that is not known here"),
    ],
)
def test_errors(error: str, said: str) -> None:
    assert said in str(trouble.of_error(parse(f"redis://ann:{SECRET}@host:1/0"), error))


@pytest.mark.parametrize("module", ["gateway", "worker"])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_at_start_it_is_one_line_and_exit_status_1(module: str, processes: str) -> None:
    url = f"redis://ann:{SECRET}@127.0.0.1:{free_port()}/0"
    words = [sys.executable, "-m", module, "--broker-url", url, "--processes", processes]
    words += ["--port", "0", "--host", "127.0.0.1"] if module == "gateway" else []
    ran = subprocess.run(words, capture_output=True, timeout=15, env={**os.environ, "LLM_CHAT_DATABASE_URL": "none"})
    assert ran.returncode == 1
    lines = ran.stderr.decode().splitlines()
    assert len([line for line in lines if "refuses the connection: start it" in line]) == 1
    assert SECRET not in ran.stderr.decode() + ran.stdout.decode()
    assert "Traceback" not in ran.stderr.decode()


@pytest.fixture
async def mortal() -> AsyncIterator[RedisServer]:
    """One that keeps what it is given."""
    server = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.remove()


async def test_a_server_that_goes_away_is_said_and_found_again(mortal: RedisServer) -> None:
    from starlette.requests import Request

    from gateway.health import Health
    from shared.clock import SystemClock

    class Hub:
        stopping = False

    gateway = await open_gateway_broker(settings(mortal.url), "gateway")
    health = Health(gateway, Hub(), SystemClock(), "gateway", None)

    async def readyz() -> bytes:
        answer = await health.readyz(Request({"type": "http", "query_string": b"", "headers": []}))
        return bytes(answer.body)

    async def until(said: bytes) -> None:
        async with asyncio.timeout(5):
            while True:
                if said in await readyz():
                    return
                await asyncio.sleep(0.02)

    assert b"no worker" in await readyz()
    mortal.kill()
    await until(b"refuses the connection: start it")
    mortal.start()
    await until(b"no worker")
    await gateway.close()
