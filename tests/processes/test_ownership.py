"""Two owners with fifty sessions each, on two gateway processes with a history: by every way that there is, the one's
do not exist for the other. And nothing of their keys is in any log, though everything is logged."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from tests.gateway.ownership import Names, Reach, told_apart
from tests.processes.client import JsonClient
from tests.processes.service import ROOT, Gateway, Service, running_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SESSIONS = 50  # of each owner
V1 = "llm-chat.v1"


class Person:
    """An owner with a key, and a client for each gateway."""

    def __init__(self, owner: str, key: str, gateways: list[Gateway]) -> None:
        self.owner = owner
        self.key = key
        self.gateways = gateways
        headers = {"authorization": f"Bearer {key}"}
        self.http = [
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{one.port}", headers=headers, timeout=20) for one in gateways
        ]
        self.names: list[Names] = []

    async def begin(self, number: int) -> None:
        """A session with a message, be it over a socket or by REST; a response and a chat besides."""
        http = self.http[number % 2]
        session = await (self._by_socket if number % 4 < 2 else self._by_rest)(number)
        made = await http.post("/v1/responses", json={"model": "echo", "input": "mine", "background": True})
        chat = f"{self.owner}-{number}"
        said = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "mine"}]}
        assert (await http.post("/api/chat", json={"id": chat, "messages": [said]})).status_code == 200
        body = {"model": "echo", "messages": [{"role": "user", "content": "mine"}], "stream": number % 2 == 0}
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
        self.names.append({"session": session, "message": "m1", "chat": chat, "response": made.json()["id"]})

    async def _by_rest(self, number: int) -> str:
        session = (await self.http[number % 2].post("/api/sessions", json={})).json()["session_id"]
        message = {"id": "m1", "content": "mine"}
        await self.http[number % 2].post(f"/api/sessions/{session}/messages?stream=true", json=message)
        return str(session)

    async def _by_socket(self, number: int) -> str:
        client = await self.open(number % 2)
        await client.say("message", id="m1", content="mine")
        await client.until("done")
        await client.close()
        return str(client.log[0]["session_id"])

    async def open(self, gateway: int) -> JsonClient:
        """A socket, by a ticket."""
        ticket = (await self.http[gateway].post("/api/tickets")).json()["subprotocol"]
        return JsonClient(await connect(self.gateways[gateway].ws, subprotocols=[V1, ticket], max_size=None))  # type: ignore[list-item]

    async def listed(self, gateway: int) -> set[str]:
        """All pages."""
        found, cursor = set[str](), ""
        while cursor is not None:
            page = (await self.http[gateway].get(f"/api/sessions?limit=30&cursor={cursor}")).json()
            found |= {session["id"] for session in page["sessions"]}
            cursor = page["next"]
        return found


async def test_every_way_to_what_is_anothers(tmp_path: Path) -> None:
    settings = {"LLM_CHAT_LOG_LEVEL": "debug", "LLM_CHAT_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/chats.db"}
    with running_service(tmp_path, LLM_CHAT_ECHO_INTERVAL="0.001", **settings) as service:
        keys = {owner: make_key(service, owner) for owner in ("ann", "bob")}
        gateways = [service.gateway(), service.gateway()]
        service.worker()
        service.ready(gateways[0])
        people = [Person(owner, key, gateways) for owner, key in keys.items()]
        for person in people:
            await asyncio.gather(*map(person.begin, range(SESSIONS)))
        ann, bob = people
        await asyncio.gather(*(rob(*pair, at) for pair in ((ann, bob), (bob, ann)) for at in (0, 1)))
        for person in people:
            mine = await person.listed(0)
            assert {names["session"] for names in person.names} <= mine == await person.listed(1)
            assert len(mine) == 3 * SESSIONS, "chat completions are not stored"
        assert not await people[0].listed(0) & await people[1].listed(0)
        await show_in_wrong_places(people[0])
        logs = logs_of(service)
        for person in people:
            for http in person.http:
                await http.aclose()
    assert len(logs) >= 4
    for text in logs:
        assert "Traceback" not in text
        assert not [key for key in keys.values() if key in text or key[-20:] in text]
        assert "llm-chat.ticket.W" not in text


def logs_of(service: Service) -> list[str]:
    """That of the broker is one of them."""
    files = (*service.directory.glob("*.log"), *service.broker.glob("*.log"))
    return [file.read_text(errors="replace") for file in files]


async def rob(owner: Person, thief: Person, gateway: int) -> None:
    """Whatever a stranger asks for is answered as if it did not exist."""
    socket = await thief.open(gateway)

    async def ask(reach: Reach) -> tuple[int, str]:
        answer = await thief.http[gateway].request(reach.method, reach.path, json=reach.body)
        return answer.status_code, answer.text

    for names in owner.names:
        assert await told_apart(ask, names) == []
        await socket.say("resume", session_id=names["session"])
        assert (await socket.next())["code"] == "session_not_found"
    await socket.close()
    url = f"ws://127.0.0.1:{owner.gateways[gateway].port}/v1/responses"
    async with connect(url, additional_headers={"authorization": f"Bearer {thief.key}"}) as mode:
        for names in owner.names:
            previous = {"previous_response_id": names["response"]}
            await mode.send(json.dumps({"type": "response.create", "model": "echo", "input": "Hi", **previous}))
            assert json.loads(await mode.recv())["error"]["code"] == "previous_response_not_found"


async def show_in_wrong_places(person: Person) -> None:
    """Nobody is let in by that, and nothing of it is logged."""
    key = person.key
    places: list[dict[str, Any]] = [
        {"params": {"key": key}},
        {"params": {"access_token": key}},
        {"headers": {"x-api-key": key}},
        {"headers": {"api-key": key}},
        {"headers": {"cookie": f"key={key}"}},
        {"headers": {"authorization": f"Basic {key}"}},
        {"headers": {"authorization": key}},
        {"headers": {"authorization": f"Bearer {key} {key}"}},
    ]
    paths = ("/api/sessions", "/v1/models", f"/v1/{key}", f"/api/sessions/{key}/events")
    async with httpx2.AsyncClient(base_url=person.http[0].base_url) as http:
        for place in places:
            for path in paths:
                assert (await http.get(path, **place)).status_code == 401
    for path in paths[2:]:
        assert (await person.http[0].get(path)).status_code == 404


def make_key(service: Service, owner: str) -> str:
    command = [sys.executable, "-m", "gateway.keys", "create", "--owner", owner]
    environment = {**os.environ, **service.environment}
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return made.stdout.strip()
