"""What tests of /v1 say and hear."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.gateway.housing import House
from tests.gateway.serving import until

Json = dict[str, Any]


def url_of(home: House, gate: int = 0) -> str:
    """For clients of one's own."""
    return f"http://127.0.0.1:{home.gates[gate].port}"


def chat(content: str = "Hello", **fields: Any) -> Json:
    """A body for chat completions."""
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **fields}


def events(text: str) -> list[Json]:
    """Those of a stream; a [DONE] at its end is left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    lines = [line for block in blocks for line in block.split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines if line != "data: [DONE]"]


def text_of(found: list[Json]) -> str:
    """What the deltas of a response's stream say."""
    return "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")


def error(response: httpx2.Response) -> Json:
    """The error object of an answer, which has all four keys."""
    found: Json = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert response.headers["x-should-retry"] in ("true", "false")
    assert response.headers["x-request-id"].startswith("req_")
    return found


@asynccontextmanager
async def asking(house: House, path: str, body: Json, gate: int = 0) -> AsyncIterator["asyncio.Task[httpx2.Response]"]:
    """A request on its way, while the test plays the worker; its answer is there at the end."""
    task = asyncio.create_task(house.gates[gate].client.post(path, json=body))
    try:
        yield task
        await task
    finally:
        task.cancel()


async def nothing_left(house: House) -> None:
    """Wait until the broker knows no session any more."""
    await until(lambda: not house.memory.state._sessions)
