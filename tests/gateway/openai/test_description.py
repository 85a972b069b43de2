"""Every answer that /openapi.json documents of /v1 is given, and is as it is documented."""

import asyncio
from typing import Any

import pytest

from shared.errors import EngineError, QueueFull
from tests.gateway.describe.test_openapi import HUGE, PLAIN, Tour
from tests.gateway.housing import house
from tests.gateway.openai.speaking import chat

CHAT, MODELS, MODEL = "/v1/chat/completions", "/v1/models", "/v1/models/{id}"
RESPONSES, ONE = "/v1/responses", "/v1/responses/{id}"
CANCEL, ITEMS = f"{ONE}/cancel", f"{ONE}/input_items"
ASK = {"model": "echo", "input": "Hello"}


async def test_the_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as here:
        tour = Tour(here, (await here.client.get("/openapi.json")).json())
        await models(tour)
        await refusals(tour, monkeypatch)
        await replies(tour)
        await response(tour)
        await stopping(tour)

    assert tour.seen == {one for one in tour.documented() if one[1].startswith("/v1/")}


async def models(tour: Tour) -> None:
    await tour.ask("GET", MODELS, 200)
    await tour.ask("GET", MODEL, 200, id="echo")
    await tour.ask("GET", MODEL, 404, id="none")


async def refusals(tour: Tour, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise QueueFull

    for path, body in ((CHAT, chat()), (RESPONSES, ASK)):
        await tour.ask("POST", path, 400, json={})
        await tour.ask("POST", path, 404, json={**body, "model": "none"})
        await tour.ask("POST", path, 413, **HUGE)
        await tour.ask("POST", path, 415, **PLAIN)
        with monkeypatch.context() as patch:
            patch.setattr(tour.here.memory.state, "submit", full)
            await tour.ask("POST", path, 429, json=body)


async def replies(tour: Tour) -> None:
    for path, body in ((CHAT, chat()), (RESPONSES, ASK)):
        for stream in (False, True):
            asking = asyncio.create_task(
                tour.ask("POST", path, 200, json={**body, "stream": stream, "background": stream})
            )
            (await tour.here.run()).done("Hi")
            await asking
        asking = asyncio.create_task(tour.ask("POST", path, 502, json=body))
        (await tour.here.run()).failed(EngineError())
        await asking
    asking = asyncio.create_task(tour.ask("POST", CHAT, 409, json=chat()))
    run = await tour.here.run()
    tour.here.memory.call("cancel", run.lease.session, run.lease.id)
    run.done(reason="cancelled")
    await asking


async def response(tour: Tour) -> None:
    body: dict[str, Any] = (await tour.here.client.post(RESPONSES, json={**ASK, "background": True})).json()
    await tour.ask("POST", RESPONSES, 409, json={**ASK, "previous_response_id": body["id"]})
    await tour.ask("GET", ONE, 200, id=body["id"])
    (await tour.here.run()).done("Hi")
    for template, method in ((ONE, "GET"), (ITEMS, "GET"), (CANCEL, "POST"), (ONE, "DELETE")):
        await tour.ask(method, template, 404, id="resp_none")
    await tour.ask("GET", ONE, 400, "?stream=maybe", id=body["id"])
    await tour.ask("GET", ONE, 200, id=body["id"])
    await tour.ask("GET", ONE, 200, "?stream=true&starting_after=3", id=body["id"])
    await tour.ask("GET", ITEMS, 200, id=body["id"])
    await tour.ask("POST", CANCEL, 200, id=body["id"])
    await tour.ask("DELETE", ONE, 200, id=body["id"])


async def stopping(tour: Tour) -> None:
    tour.here.gate.hub.stopping = True
    for template, method in ((MODELS, "GET"), (MODEL, "GET"), (ONE, "GET"), (ITEMS, "GET"), (ONE, "DELETE")):
        await tour.ask(method, template, 503)
    for template, body in ((CHAT, chat()), (RESPONSES, ASK), (CANCEL, {})):
        await tour.ask("POST", template, 503, json=body)
    tour.here.gate.hub.stopping = False
