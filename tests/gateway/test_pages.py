import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from gateway.pages import IndexPage

SNIPPET = """const ws = new WebSocket("ws://" + location.host + "/ws");
ws.onmessage = e => console.log(e.data);
ws.onopen = () => ws.send("Hello");"""


async def show(host: str = "localhost:8080", method: str = "GET") -> httpx2.Response:
    app = Starlette(routes=[Route("/", IndexPage().show)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        return await client.request(method, "/", headers={"host": host})


class Reader(HTMLParser):
    """Collects a page's text, tags and the addresses that it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag != "a")]


async def test_the_page_says_what_to_paste_and_what_to_type() -> None:
    text = Reader((await show("chat.example:9000")).text).text

    assert SNIPPET in text
    assert "npx wscat -c ws://chat.example:9000/ws" in text


async def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = Reader((await show()).text)

    assert page.loads == ["data:,"]
    assert not page.tags & {"script", "img", "iframe", "form", "object"}


async def test_the_policy_allows_just_this_style_and_this_server() -> None:
    response = await show()
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()

    assert policy.pop("style-src") == f"'sha256-{digest}'"
    assert policy.pop("connect-src") == "'self'"
    assert policy.pop("img-src") == "data:"
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'"}
    assert {"base-uri", "form-action", "frame-ancestors"} <= policy.keys()


async def test_a_host_header_is_no_way_to_write_into_the_page() -> None:
    response = await show('x"><b>')

    assert "<b>" not in response.text
    assert "&lt;b&gt;" in response.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_page_is_html(method: str) -> None:
    response = await show(method=method)

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
