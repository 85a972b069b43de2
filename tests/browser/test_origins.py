"""Pages of other origins: what a browser lets them have of this service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from gateway.app import build_app
from gateway.hub import Hub
from shared.brokers.sides import GatewaySide
from shared.clock import SystemClock
from shared.settings import Settings
from tests.browser.chromium import open_page
from tests.gateway.housing import house

pytestmark = pytest.mark.timeout(60)
HTML = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"
TRY = """
const here = "http://127.0.0.1:%d";
const first = (source, good) => new Promise((resolve) => {
  source.addEventListener(good, () => resolve(true));
  source.addEventListener("error", () => resolve(false));
});
const asked = await fetch(`${here}/api/sessions`, { method: "POST" }).catch(() => null);
const begun = asked === null ? { events: "/api/sessions/s_1/events" } : await asked.json();
const source = new EventSource(here + begun.events);
const socket = new WebSocket(here.replace("http", "ws") + "/ws");
const opened = Promise.all([first(source, "session"), first(socket, "open")]);
const chat = fetch(`${here}/v1/models`, { headers: { authorization: "Bearer any", "x-stainless-lang": "js" } });
const got = [
  asked !== null,
  ...(await opened),
  await chat.then((answer) => answer.ok, () => false),
];
source.close();
socket.close();
got;
"""


def local(settings: Settings, broker: GatewaySide, hub: Hub) -> ASGIApp:
    """As it is where no keys are asked for."""
    return build_app(settings, broker, hub, SystemClock(), local=True)


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """Somebody else's; yields its origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HTML)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]  # noqa: UP031
    finally:
        server.close()
        await server.wait_closed()


async def test_a_listed_page_has_everything_and_another_one_nothing(tmp_path: Path) -> None:
    async with site() as listed, site() as foreign, house(origins=(listed,)) as here:
        got = {}
        for origin in (listed, foreign):
            async with open_page(tmp_path / origin[-5:], origin) as page:
                got[origin] = await page.run(TRY % here.gate.port)
    assert got == {listed: [True] * 4, foreign: [False] * 4}


async def test_a_page_whose_name_leads_here_has_nothing_either(tmp_path: Path) -> None:
    """A browser takes it for a page of ours."""
    got = []
    ask = "(await fetch('/api/sessions', { method: 'POST' })).status"
    connect = """
        const socket = new WebSocket(`ws://${location.host}/ws`);
        await new Promise((end) => (socket.onopen = socket.onerror = (event) => end(event.type)));
    """
    for build in (None, local):
        async with house(build) as here:
            url = f"http://rebound.example:{here.gate.port}/livez"
            lead = "--host-resolver-rules=MAP rebound.example 127.0.0.1"
            async with open_page(tmp_path / str(here.gate.port), url, lead) as page:
                got.append(await page.run(ask))
                got.append(await page.run(connect))
    assert got == [201, "open", 403, "error"]
