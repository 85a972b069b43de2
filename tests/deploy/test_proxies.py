"""The service behind nginx and Caddy as `deploy/` sets them up: real processes, TLS, kills and stops in mid-reply."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.deploy.proxies import Proxy, running
from tests.processes.client import JsonClient, echo_of, events, sha256, text_of
from tests.processes.service import Gateway, Service, running_service

pytestmark = pytest.mark.timeout(90)
CHUNKS, INTERVAL = 60, 0.05  # a reply takes three seconds
CLIENTS = 6


class Site:
    """Two gateways, a worker and the proxy before them."""

    def __init__(self, service: Service, gateways: list[Gateway], proxy: Proxy) -> None:
        self.service = service
        self.gateways = gateways
        self.proxy = proxy

    async def client(self) -> JsonClient:
        """Connected through the proxy."""
        protocols: Any = ["llm-chat.v1"]
        return JsonClient(await connect(self.proxy.ws, subprotocols=protocols, ssl=self.proxy.trust))

    def http(self) -> httpx2.AsyncClient:
        """The same for HTTP."""
        return httpx2.AsyncClient(base_url=self.proxy.origin, verify=self.proxy.trust)


@asynccontextmanager
async def site(kind: str, directory: Path) -> AsyncIterator[Site]:
    """Ready to be used."""
    settings = {"LLM_CHAT_ECHO_CHUNKS": str(CHUNKS), "LLM_CHAT_ECHO_INTERVAL": str(INTERVAL)}
    with running_service(directory, **settings) as service:
        service.worker()
        gateways = [service.gateway(), service.gateway()]
        for gateway in gateways:
            service.ready(gateway)
        with running(kind, directory, [gateway.port for gateway in gateways]) as proxy:
            here = Site(service, gateways, proxy)
            async with here.http() as http:
                assert (await http.get("/livez")).status_code == 200
            yield here


class Talk:
    """One message, and whatever connections its reply takes."""

    def __init__(self, here: Site, number: int) -> None:
        self.content = f"message {number}"
        self.seen: list[dict[str, Any]] = []
        self.lost = 0  # connections
        self._here = here
        self._client: JsonClient | None = None

    async def begin(self) -> None:
        """Up to the first piece."""
        self._client = await self._here.client()
        await self._client.say("message", id="m1", content=self.content)
        await self._client.until("delta")
        self.session = next(frame["session_id"] for frame in self._client.log if frame["type"] == "session")

    async def go_on(self) -> None:
        """To the end, coming back as often as need be."""
        assert self._client is not None
        client = self._client
        while True:
            try:
                await client.until("done")
                break
            except ConnectionClosed:
                self.lost += 1
                self.seen += events(client.log)
                client = await self._come_back()
        self.seen += events(client.log)
        await client.close()

    async def _come_back(self) -> JsonClient:
        for _ in range(40):
            try:
                client = await self._here.client()
                await client.say("resume", session_id=self.session, after=self.seen[-1]["cursor"])
                return client
            except (InvalidStatus, ConnectionClosed, OSError):  # a gateway that has just gone
                await asyncio.sleep(0.1)
        raise AssertionError("the proxy let nobody in for four seconds")

    def check(self) -> None:
        """Every event once, in order, and the text that was meant."""
        cursors = [event["cursor"] for event in self.seen]
        assert len(cursors) == len(set(cursors))
        assert text_of(self.seen) == echo_of(self.content, CHUNKS)
        assert self.seen[-1]["text_sha256"] == sha256(echo_of(self.content, CHUNKS))


@pytest.mark.parametrize("kind", ["nginx", pytest.param("caddy", marks=pytest.mark.slow)])
async def test_replies_outlive_gateways_behind_it(kind: str, tmp_path: Path) -> None:
    """One is killed; when it is back the other one is stopped in order: a rolling update, and worse."""
    async with site(kind, tmp_path) as here:
        talks = [Talk(here, number) for number in range(CLIENTS)]
        await asyncio.gather(*(talk.begin() for talk in talks))
        goings = [asyncio.ensure_future(talk.go_on()) for talk in talks]
        first, second = here.gateways
        first.process.kill()
        await asyncio.to_thread(first.process.wait, 5)
        await asyncio.to_thread(here.service.gateway, port=first.port)
        second.process.kill(signal.SIGTERM)
        await asyncio.gather(*goings)
        for talk in talks:
            talk.check()
        assert sum(talk.lost for talk in talks) >= CLIENTS  # each gateway had some, and at the end none had the rest
        assert await asyncio.to_thread(second.process.wait, 5) == 0


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_events_come_at_once_and_only_its_own_pages_may_connect(kind: str, tmp_path: Path) -> None:
    async with site(kind, tmp_path) as here, here.http() as http:
        await check_events(http)
        await check_pages(here, http)


async def check_events(http: httpx2.AsyncClient) -> None:
    """The reply is stopped by whoever has seen its first piece: a proxy that collects would show the piece too late."""
    session = (await http.post("/api/sessions")).json()["session_id"]
    address = f"/api/sessions/{session}/messages"
    asked = {"id": "m1", "content": "Hello"}
    async with http.stream("POST", f"{address}?stream=true", json=asked) as reply:
        lines = reply.aiter_lines()
        first = await anext(line async for line in lines if '"delta"' in line)
        receipt = (await http.post(f"{address}/m1/cancel")).json()["receipt"]
        rest = [line async for line in lines if line.startswith("data:")]
    assert "chunk 1: Hello" in first
    assert receipt["generated"] < CHUNKS
    assert json.loads(rest[-1].removeprefix("data:"))["finish_reason"] == "cancelled"


async def check_pages(here: Site, http: httpx2.AsyncClient) -> None:
    """The gateway sees the host and the port that a page was loaded from."""
    trust, own = here.proxy.trust, here.proxy.origin
    async with connect(here.proxy.ws, ssl=trust, origin=own) as socket:  # type: ignore[arg-type]
        await socket.send("Hello")
        assert await socket.recv() == "chunk 1: Hello"
    with pytest.raises(InvalidStatus) as refused:
        await connect(here.proxy.ws, ssl=trust, origin="https://localhost")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    assert (await http.post("/api/sessions", headers={"origin": own})).status_code == 201
    assert (await http.post("/api/sessions", headers={"origin": "https://evil.example"})).status_code == 403
