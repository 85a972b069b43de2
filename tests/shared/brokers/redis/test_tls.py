"""Over TLS, with a user and a password: what serves, what is said where something is wrong, and what is never shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from shared.broker import NoBroker
from shared.brokers import check_broker, open_gateway_broker, open_worker_broker
from shared.brokers.redis import trouble
from shared.messages import text_of
from shared.settings import BrokerSettings, Settings
from tests.certificates import Authority
from tests.conftest import require
from tests.contracts.brokers import Back, Front
from tests.processes.client import JsonClient, echo_of
from tests.processes.client import text_of as shown_of
from tests.processes.service import running_service, until
from tests.redis_house import SentinelServer
from tests.redis_server import NEEDED_TLS, RedisServer, free_port, tls_program

USER = "chat-user"
PASSWORD = "hunter2/and:more@%"
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), USER)
ACL = ("--user", USER, "on", f">{PASSWORD}", *trouble.PERMISSIONS.split(), "--user", "default", "off")


class Guarded(NamedTuple):
    """A server, its port for TLS, and the authority that both it and its clients go by."""

    server: RedisServer
    port: int
    authority: Path
    client: tuple[Path, Path]

    def url(self, host: str = "localhost", password: str = PASSWORD, authority: Path | None = None) -> str:
        user = f"{USER}:{quote(password, safe='')}"
        return f"rediss://{user}@{host}:{self.port}/0?ssl_ca_certs={authority or self.authority}"

    @property
    def url_of_a_known_client(self) -> str:
        return f"{self.url()}&ssl_certfile={self.client[0]}&ssl_keyfile={self.client[1]}"


def guarded(directory: Path, *options: str) -> Guarded:
    binary = tls_program()
    require(binary, NEEDED_TLS)
    authority, port = Authority(directory), free_port()
    certificate, key = authority.certify("server", "localhost")
    words = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    words += ["--tls-ca-cert-file", str(authority.path), *ACL, *options]
    return Guarded(RedisServer(*words, binary=binary), port, authority.path, authority.certify("client"))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """It asks no client for a certificate."""
    made = guarded(tmp_path_factory.mktemp("tls"), "--tls-auth-clients", "no")
    yield made
    made.server.remove()


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """It does."""
    made = guarded(tmp_path_factory.mktemp("mutual"), "--tls-auth-clients", "yes")
    yield made
    made.server.remove()


def settings(url: str) -> Settings:
    return Settings(broker=BrokerSettings(url=url))


async def sentence(url: str) -> str:
    with pytest.raises(NoBroker) as raised:
        await check_broker(settings(url))
    said = str(raised.value)
    assert not [secret for secret in SECRETS if secret in said]
    assert "\n" not in said
    return said


async def test_a_reply_goes_over_tls(tls: Guarded) -> None:
    front = Front(await open_gateway_broker(settings(tls.url()), "gateway"))
    back = Back(await open_worker_broker(settings(tls.url()), "worker"))
    await front.drain()
    await front.chat()
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("text ")
    await attempt.add("x" * 300_000, end=True)  # many records
    await front.drain_end("m1")
    assert text_of(front.items) == "text " + "x" * 300_000
    await front.side.forget("s")
    await front.side.close()
    await back.side.close()


async def test_an_authority_that_is_not_ours(tls: Guarded, tmp_path: Path) -> None:
    other = Authority(tmp_path, "others").path
    assert "a certificate that is not trusted: name its authority by ssl_ca_certs" in await sentence(
        tls.url(authority=other)
    )


async def test_a_certificate_of_another_name(tls: Guarded) -> None:
    assert "a certificate for another name" in await sentence(tls.url(host="127.0.0.1"))


async def test_a_wrong_password(tls: Guarded) -> None:
    assert "refuses the password" in await sentence(tls.url(password="other"))


async def test_one_end_alone_speaks_it(tls: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without TLS waits for the rest of a line."""
    monkeypatch.setattr("shared.brokers.redis.wire.CONNECT_SECONDS", 0.5)
    assert "or speaks no TLS there" in await sentence(tls.url().replace(str(tls.port), str(tls.server.port)))
    assert "whether it wants TLS (rediss://)" in await sentence(tls.url().split("?")[0].replace("rediss", "redis"))


async def test_a_certificate_of_our_own(mutual: Guarded) -> None:
    await check_broker(settings(mutual.url_of_a_known_client))
    assert "has closed the connection" in await sentence(mutual.url())


async def test_sentinels_are_asked_over_tls_too(tls: Guarded, tmp_path: Path) -> None:
    """One that knows the master by the port for TLS, and wants a password of its own."""
    certificate, key = Authority(tmp_path, "others").certify("sentinel", "localhost")
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(tls.authority)]
    port, monitored = free_port(), f"sentinel monitor mymaster localhost {tls.port} 1"
    lines = [
        "sentinel resolve-hostnames yes",
        "sentinel announce-hostnames yes",
        monitored,
        f'requirepass "{PASSWORD}"',
    ]
    words = ["--tls-port", str(port), "--tls-auth-clients", "no", *files]
    sentinel = SentinelServer([*lines, f'requirepass "{PASSWORD}"'], *words, binary=tls_program())
    both = tmp_path / "both.crt"
    both.write_bytes(tls.authority.read_bytes() + (tmp_path / "others.crt").read_bytes())
    url = (
        tls.url(authority=both).replace("rediss:", "rediss+sentinel:").replace(f":{tls.port}/0", f":{port}/mymaster/0")
    )
    own = f"&sentinel_password={quote(PASSWORD, safe='')}"
    await check_broker(settings(url + own))
    assert "correct sentinel_password in" in await sentence(url)
    assert "a certificate that is not trusted" in await sentence(url.replace(str(both), str(tls.authority)) + own)
    sentinel.remove()


@pytest.mark.timeout(60)
async def test_nothing_secret_is_in_the_logs(tls: Guarded, tmp_path: Path) -> None:
    """At debug, with the server away for a while."""
    with running_service(tmp_path, LLM_CHAT_BROKER_URL=tls.url(), LLM_CHAT_LOG_LEVEL="debug") as service:
        gateway, worker = service.gateway(), service.worker()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        await client.say("message", id="m1", content="whisper")
        await client.until("done")
        assert shown_of(client.log) == echo_of("whisper")
        await client.close()
        tls.server.kill()
        until(lambda: "refuses the connection" in str(gateway.get("/readyz?verbose")), what="the reason")
        tls.server.start()
        service.ready(gateway)
        printed = gateway.process.text() + worker.text() + str(gateway.get("/readyz?verbose"))
    assert f"rediss://localhost:{tls.port}/0" in printed  # what may be shown is
    assert not [secret for secret in SECRETS if secret in printed]
