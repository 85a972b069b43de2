import json
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from gateway.app import build_app
from gateway.auth.credentials import Credentials
from gateway.auth.gate import Gate
from gateway.auth.middleware import Authentication
from gateway.caller import NOBODY, Caller, caller_of
from gateway.hub import Hub
from shared.broker import GatewayBroker
from shared.errors import NotAuthenticated
from shared.settings import Settings
from tests.conftest import FakeClock
from tests.gateway.auth.guarded import V1, Guarded, guarded, say
from tests.gateway.auth.tokens import token
from tests.gateway.serving import FakeSessions, serving

START = json.dumps({"type": "start"})


@pytest.fixture
async def chat() -> AsyncIterator[Guarded]:
    async with guarded("ann") as found:
        yield found


# --- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/static/none.js"])
@pytest.mark.parametrize("bearer", [None, "wrong"])
async def test_what_is_open_to_everybody(chat: Guarded, path: str, bearer: str | None) -> None:
    assert (await chat.ask("GET", path, bearer)).status_code in (200, 404, 503)


@pytest.mark.parametrize("path", ["/ws", "/api/tickets", "/nowhere", "//", "/livez/", "/livez%2f", "/static"])
async def test_all_else_is_not(chat: Guarded, path: str) -> None:
    answer = await chat.ask("POST", path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {
        "type": "error",
        "code": "not_authenticated",
        "message": "A key is needed here.",
        "retryable": False,
    }


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/chat/completions", "/v1/models"])
async def test_below_v1_it_is_said_as_openai_says_it(chat: Guarded, path: str) -> None:
    answer = await chat.ask("POST", path, "sk-wrong")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json() == {
        "error": {
            "message": "The key or token is not good here.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }


async def test_v10_is_not_v1(chat: Guarded) -> None:
    assert (await chat.ask("GET", "/v10/models")).json()["type"] == "error"


async def test_a_key_or_a_token_opens(chat: Guarded) -> None:
    for bearer in (chat.keys["ann"], token(exp=time.time() + 60)):
        assert (await chat.ask("GET", "/nowhere", bearer)).status_code == 404
    assert (await chat.ask("GET", "/nowhere", token(exp=time.time() - 60))).status_code == 401


async def test_a_ticket_is_not_for_http(chat: Guarded) -> None:
    ticket = (await chat.ask("POST", "/api/tickets", chat.keys["ann"])).json()
    assert (await chat.ask("POST", "/api/tickets", ticket["ticket"])).status_code == 401
    assert (await chat.ask("POST", f"/api/tickets?ticket={ticket['ticket']}&key={chat.keys['ann']}")).status_code == 401


# --- WebSocket ------------------------------------------------------------------------------------------------------


async def test_a_socket_by_header_and_by_subprotocol(chat: Guarded) -> None:
    key = chat.keys["ann"]
    async with chat.socket(bearer=key) as socket:
        assert socket.subprotocol is None
    for names in ([V1, f"llm-chat.key.{key}"], [f"llm-chat.key.{key}", V1]):
        async with chat.socket(*names) as socket:
            assert socket.subprotocol == V1
            assert key not in str(socket.response.headers)
            assert json.loads(await say(socket, START))["type"] == "session"


async def test_an_upgrade_without_anything_good_is_answered_401(chat: Guarded) -> None:
    for more in ({}, {"bearer": "wrong"}, {"path": "/elsewhere"}, {"path": "/"}, {"path": "/livez"}):
        answer = await chat.refused(V1, **more)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert json.loads(answer.body)["code"] == "not_authenticated"
    assert (await chat.refused(V1, "llm-chat.key.wrong")).status_code == 401
    assert (await chat.refused(V1, f"llm-chat.key.{chat.keys['ann']}", bearer=chat.keys["ann"])).status_code == 401


async def test_a_key_does_not_open_what_is_closed_for_other_reasons(chat: Guarded) -> None:
    key = chat.keys["ann"]
    assert (await chat.refused(V1, bearer=key, origin="https://evil.example")).status_code == 403
    assert (await chat.refused(f"llm-chat.key.{key}")).status_code == 400
    assert (await chat.refused("chat", bearer=key)).status_code == 400
    assert (await chat.refused(V1, bearer=key, path="/elsewhere")).status_code == 404


async def test_a_ticket_opens_one_socket(chat: Guarded) -> None:
    answer = await chat.ask("POST", "/api/tickets", chat.keys["ann"])
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["subprotocol"] == "llm-chat.ticket." + found["ticket"]
    assert found["expires_in"] == 30
    async with chat.socket(V1, found["subprotocol"]) as socket:
        assert socket.subprotocol == V1
        assert json.loads(await say(socket, START))["type"] == "session"
    assert (await chat.refused(V1, found["subprotocol"])).status_code == 401


async def test_with_the_broker_away_a_ticket_may_be_tried_again(chat: Guarded) -> None:
    ticket = (await chat.ask("POST", "/api/tickets", chat.keys["ann"])).json()["subprotocol"]
    chat.broker.fail("spend", "stats")
    answer = await chat.refused(V1, ticket)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert json.loads(answer.body)["code"] == "broker_unavailable"
    assert json.loads(answer.body)["retryable"] is True
    assert (await chat.refused(V1, ticket, path="/v1/responses")).status_code == 503
    no_ticket = await chat.ask("POST", "/api/tickets", chat.keys["ann"])
    assert (no_ticket.status_code, no_ticket.json()["code"]) == (503, "broker_unavailable")
    chat.broker.heal()
    await (await chat.socket(V1, ticket)).close()


async def test_tickets_are_made_by_post_only(chat: Guarded) -> None:
    answer = await chat.ask("GET", "/api/tickets", chat.keys["ann"])
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_where_nobody_is_asked_the_same_client_works(clock: FakeClock) -> None:
    app = build_app(Settings(), cast(GatewayBroker, None), cast(Hub, FakeSessions()), clock)
    async with serving(app) as served, httpx2.AsyncClient() as client:
        for headers in ({}, {"authorization": "Bearer whatever"}):
            answer = await client.post(f"http://127.0.0.1:{served.port}/api/tickets", headers=headers)
            assert answer.status_code == 201
            assert answer.json()["subprotocol"] == "llm-chat.ticket." + answer.json()["ticket"]


# --- what is behind it ----------------------------------------------------------------------------------------------


class Lenient:
    """A gate that lets in who shows `good`."""

    async def admit(self, credentials: Credentials) -> Caller:
        if "good" not in credentials:
            raise NotAuthenticated
        return Caller("ann", 5.0, "k")

    async def ticket(self, caller: Caller) -> str:
        raise NotImplementedError


LENIENT = Lenient()


async def seen(scope: dict[str, Any], gate: Gate | None = LENIENT) -> Scope | None:
    """What comes through to the application."""
    found: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)

    async def receive() -> Any:
        raise NotImplementedError

    async def send(message: Any) -> None:
        pass

    await Authentication(app, gate)(scope, receive, send)
    return found[0] if found else None


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_caller_is_in_the_scope_and_what_was_shown_is_not(kind: str) -> None:
    headers = [(b"authorization", b"Bearer good"), (b"host", b"x")]
    before = {"type": kind, "path": "/x", "headers": headers, "subprotocols": [V1], "extensions": {"writer": 1}}
    scope = await seen(before)
    assert scope is not None
    assert caller_of(scope) == Caller("ann", 5.0, "k")
    assert "good" not in repr(scope)
    assert scope["extensions"] is before["extensions"]
    assert caller_of(before) == NOBODY
    assert await seen({**before, "headers": [(b"authorization", b"Bearer bad")], "extensions": {}}) is None


async def test_whoever_is_let_in_by_a_gate_is_nobody_else() -> None:
    headers = [(b"authorization", b"Bearer good")]
    scope = await seen({"type": "http", "path": "/x", "headers": headers, "llm_chat.caller": Caller("eve")})
    assert scope is not None
    assert caller_of(scope).owner == "ann"


async def test_where_everybody_is_let_in_what_is_shown_is_ignored_and_goes_no_further() -> None:
    headers = [(b"authorization", b"Bearer s3cret"), (b"authorization", b"Bearer other")]
    for before in ({}, {"llm_chat.caller": Caller("known by what stands before us")}):
        whole = {"type": "websocket", "path": "/ws", "headers": headers, "subprotocols": ["llm-chat.key.x"], **before}
        scope = await seen(whole, None)
        assert scope is not None
        assert caller_of(scope) == caller_of(before)
        assert "s3cret" not in repr(scope)


async def test_the_life_of_the_application_is_none_of_its_business() -> None:
    scope = {"type": "lifespan"}
    assert await seen(scope) is scope
