"""Every answer that /openapi.json documents is given, and is as it is documented."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from gateway import line, vercel
from gateway.describe.openapi import openapi
from gateway.rest import stopping
from shared.errors import SessionNotFound
from tests.gateway.housing import House, house
from tests.gateway.rest.test_history import fill
from tests.gateway.serving import until
from tests.memory_store import MemoryStore

SESSIONS, ONE = "/api/sessions", "/api/sessions/{id}"
EVENTS, EXPORT, MESSAGES = f"{ONE}/events", f"{ONE}/export", f"{ONE}/messages"
CANCEL = f"{MESSAGES}/{{message}}/cancel"
CHAT, RESUME, STOP = "/api/chat", "/api/chat/{id}/stream", "/api/chat/{id}/stop"
ASK = {"id": "m1", "content": "Hello"}
TALK = {"id": "chat", "messages": [{"role": "user", "id": "u1", "parts": [{"type": "text", "text": "Hello"}]}]}
LARGE = {"id": "m1", "content": "x" * 65_537}
LARGE_TALK = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "x" * 65_537}]}]}
HUGE: dict[str, Any] = {"content": b" " * ((4 << 20) + 1), "headers": {"content-type": "application/json"}}
PLAIN: dict[str, Any] = {"content": b"{}", "headers": {"content-type": "text/plain"}}


class Tour:
    """Asks, and compares with the document."""

    def __init__(self, here: House, document: Mapping[str, Any]) -> None:
        self.here = here
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()

    async def ask(
        self, method: str, template: str, status: int, query: str = "", id: str = "s_1", **options: Any
    ) -> None:
        path = template.replace("{id}", id).replace("{message}", options.pop("message", "m1")) + query
        async with self.here.client.stream(method, path, **options) as response:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                first = await anext(response.aiter_raw(), b"")
                assert first.startswith((b"data:", b"retry:", b"event:")), first
            else:
                await response.aread()
            self.compare(method, template, status, response)

    def compare(self, method: str, template: str, status: int, response: httpx2.Response) -> None:
        assert response.status_code == status, (method, template, response.status_code)
        said = self.document["paths"][template][method.lower()]["responses"][str(status)]
        media = response.headers.get("content-type", "").partition(";")[0]
        assert media in said.get("content", {"": None}), (method, template, media)
        if media == "application/json":
            self.valid(said["content"][media]["schema"], response.json())
        if not media:
            assert response.content == b""
        self.seen.add((method, template, status))

    def valid(self, schema: Mapping[str, Any], value: Any) -> None:
        whole = {**schema, "components": self.document["components"]}
        jsonschema_rs.Draft202012Validator(whole).validate(value)

    def documented(self) -> set[tuple[str, str, int]]:
        return {
            (method.upper(), path, int(status))
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            for status in operation["responses"]
        }


async def test_the_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    await fill(store)
    async with house(store=store) as here:
        document = (await here.client.get("/openapi.json")).json()
        tour = Tour(here, document)
        await watch(tour)
        await read(tour)
        await change(tour)
        await talk(tour, monkeypatch)
        await chat(tour, monkeypatch)
        await stop_and_go_away(tour, store)

    assert tour.seen == {one for one in tour.documented() if not one[1].startswith("/v1/")}  # which have their own


async def watch(tour: Tour) -> None:
    await tour.ask("GET", "/livez", 200)
    await tour.ask("GET", "/readyz", 503)
    tour.here.works()
    for query in ("", "?verbose"):
        await tour.ask("GET", "/readyz", 200, query)


async def read(tour: Tour) -> None:
    await tour.ask("GET", SESSIONS, 200)
    await tour.ask("GET", SESSIONS, 400, "?limit=0")
    await tour.ask("GET", ONE, 200)
    await tour.ask("GET", EXPORT, 200)
    await tour.ask("GET", EXPORT, 200, "?format=markdown")
    await tour.ask("GET", EXPORT, 400, "?format=pdf")
    for template in (ONE, EXPORT, EVENTS):
        await tour.ask("GET", template, 404, id="s_0")


async def change(tour: Tour) -> None:
    await tour.ask("PATCH", ONE, 200, json={"title": "T"})
    await tour.ask("PATCH", ONE, 400, json={})
    await tour.ask("PATCH", ONE, 404, id="s_0", json={"title": "T"})
    await tour.ask("PATCH", ONE, 413, **HUGE)
    await tour.ask("PATCH", ONE, 415, **PLAIN)
    await tour.ask("DELETE", ONE, 204)
    await tour.ask("DELETE", ONE, 404)
    await tour.ask("POST", SESSIONS, 201, json={"title": "T"})
    await tour.ask("POST", SESSIONS, 201)
    await tour.ask("POST", SESSIONS, 400, json={"title": 1})
    await tour.ask("POST", SESSIONS, 413, **HUGE)
    await tour.ask("POST", SESSIONS, 415, **PLAIN)


async def talk(tour: Tour, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tour.here
    id = (await here.client.post(SESSIONS)).json()["session_id"]
    await tour.ask("GET", EVENTS, 200, id=id)
    await tour.ask("GET", EVENTS, 400, "?after=x", id=id)
    await tour.ask("POST", MESSAGES, 202, id=id, json=ASK)
    await tour.ask("POST", MESSAGES, 200, "?stream=true", id=id, json=ASK)
    await tour.ask("POST", MESSAGES, 409, "?wait=false", id=id, json={"id": "m2", "content": "?"})
    await tour.ask("POST", MESSAGES, 400, id=id, json={})
    await tour.ask("POST", MESSAGES, 404, id="s_0", json=ASK)
    await tour.ask("POST", MESSAGES, 413, id=id, json=LARGE)
    await tour.ask("POST", MESSAGES, 415, id=id, **PLAIN)
    waiting = asyncio.create_task(here.client.post(f"{SESSIONS}/{id}/messages", json={"id": "m3", "content": "?"}))
    await until(lambda: bool(here.gate.hub._sessions) and here.gate.hub._sessions[id].line.holds("m3"))
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "PATIENCE", 0.05)
        await tour.ask("POST", CANCEL, 202, id=id, message="m3")
    (await here.run()).done()
    await waiting
    await tour.ask("POST", CANCEL, 200, id=id)
    await tour.ask("POST", CANCEL, 404, id=id, message="m9")


async def chat(tour: Tour, monkeypatch: pytest.MonkeyPatch) -> None:
    for template, method in ((RESUME, "GET"), (STOP, "POST")):
        await tour.ask(method, template, 204, id="chat")
    with monkeypatch.context() as patch:
        patch.setattr(line, "LONGEST", 0)
        await tour.ask("POST", CHAT, 409, json=TALK)
    with monkeypatch.context() as patch:
        patch.setattr(tour.here.memory.state, "attach", refuse_all)
        await tour.ask("POST", CHAT, 404, json=TALK)
    await tour.ask("POST", CHAT, 200, json=TALK)
    await tour.ask("GET", RESUME, 200, id="chat")
    run = await tour.here.run()
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "PATIENCE", 0.05)
        await tour.ask("POST", STOP, 202, id="chat")
    run.done(reason="cancelled")
    await tour.ask("POST", CHAT, 200, json=TALK | {"trigger": "regenerate-message"})
    await tour.ask("POST", STOP, 200, id="chat")
    await tour.ask("POST", CHAT, 400, json={})
    await tour.ask("POST", CHAT, 413, json=LARGE_TALK)
    await tour.ask("POST", CHAT, 415, **PLAIN)


def refuse_all(*_: object) -> None:
    raise SessionNotFound


async def stop_and_go_away(tour: Tour, store: MemoryStore) -> None:
    store.away = True
    for method, template in (("GET", SESSIONS), ("GET", ONE), ("GET", EXPORT), ("DELETE", ONE)):
        await tour.ask(method, template, 503)
    await tour.ask("PATCH", ONE, 503, json={"title": "T"})
    tour.here.gate.hub.stopping = True
    await tour.ask("GET", EVENTS, 503)
    await tour.ask("GET", RESUME, 503, id="chat")
    for template, body in ((SESSIONS, {}), (MESSAGES, ASK), (CANCEL, None), (CHAT, TALK), (STOP, None)):
        await tour.ask("POST", template, 503, json=body)
    tour.here.gate.hub.stopping = False
    no_store = await without_a_store()
    tour.compare("GET", SESSIONS, 404, no_store)


async def without_a_store() -> httpx2.Response:
    async with house() as here:
        return await here.client.get(SESSIONS)


def test_an_interface_may_describe_itself_otherwise() -> None:
    raw = {"/v1/models": {"get": {"responses": {"200": {"description": "Models."}}}}}

    document = openapi(vercel.PATHS, raw)

    assert document["paths"]["/v1/models"] == raw["/v1/models"]
    assert "/api/chat" in document["paths"]
