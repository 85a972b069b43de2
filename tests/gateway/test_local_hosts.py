"""Where no keys are asked for: by what names this machine may be called."""

import pytest
from starlette.types import Receive, Scope, Send

from gateway.local_hosts import LocalHosts
from tests.gateway.openai.speaking import Json

LISTED = ("https://chat.example:8443",)
PORT = [b"localhost:8080", b"LocalHost", b"chat.localhost:80", b"127.0.0.1:8080", b"[::1]:8080", b"192.168.1.5"]
LISTED_HOSTS = [b"chat.example", b"chat.example:8080"]
FOREIGN = [
    b"evil.example:8080",
    b"localhost.evil.example",
    b"evillocalhost",
    b"127.0.0.1.evil.example",
    b"",
    b"a b",
    b"[x]",
]


async def answered(*hosts: bytes, path: str = "/api/sessions", kind: str = "http") -> Json:
    """What an application behind it, which answers nothing, was asked; or the answer before it."""
    found: Json = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found["passed"] = True

    async def send(message: Json) -> None:
        found[message["type"]] = message.get("status", message.get("body"))

    async def receive() -> Json:
        return {}

    headers = [(b"host", host) for host in hosts]
    scope = {"type": kind, "method": "GET", "path": path, "headers": headers, "extensions": {}}
    await LocalHosts(app, LISTED)(scope, receive, send)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("host", [*PORT, *LISTED_HOSTS])
async def test_its_own_names_addresses_and_listed_hosts_pass(host: bytes) -> None:
    assert await answered(host) == {"passed": True}


async def test_programs_that_name_none_pass() -> None:
    assert await answered() == {"passed": True}


@pytest.mark.parametrize("host", FOREIGN)
async def test_all_others_are_refused(host: bytes) -> None:
    assert (await answered(host))["http.response.start"] == 403


async def test_one_good_name_among_others_is_not_enough() -> None:
    assert (await answered(b"localhost", b"evil.example"))["http.response.start"] == 403


async def test_below_v1_it_is_said_as_openai_says_it() -> None:
    body = (await answered(b"evil.example", path="/v1/models"))["http.response.body"]
    assert body.startswith(b'{"error":{"message":"While no keys are asked for')


async def test_a_websocket_is_denied_and_the_life_of_the_application_is_none_of_its_business() -> None:
    assert "passed" not in await answered(b"evil.example", kind="websocket")
    assert await answered(kind="lifespan") == {"passed": True}
