"""What the documentation says to paste into a browser's console does what it says, there."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.browser.chromium import open_page
from tests.gateway.auth.guarded import guarded
from tests.gateway.housing import house

pytestmark = pytest.mark.timeout(60)
ROOT = Path(__file__).parents[2]


def example(name: str) -> str:
    found = re.search(r"```js\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_readme(tmp_path: Path) -> None:
    async with house() as here, open_page(tmp_path, f"http://127.0.0.1:{here.gate.port}/") as page:
        await page.run(example("README.md"))
        run = await here.run()
        run.say("chunk 1: Hello")
        run.done("\nchunk 2: Hello")
        assert await page.logged(lambda lines: len(lines) == 2) == ["chunk 1: Hello", "chunk 2: Hello"]


async def test_an_event_source(tmp_path: Path) -> None:
    async with house() as here, open_page(tmp_path, f"http://127.0.0.1:{here.gate.port}/") as page:
        running = asyncio.create_task(page.run(example("docs/rest.md")))
        run = await here.run()
        run.say("chunk 1: Hello, LLM!")
        run.done("\nchunk 2: Hello, LLM!")
        await running
        assert await page.logged(bool) == ["chunk 1: Hello, LLM!\nchunk 2: Hello, LLM!"]


async def test_a_ticket(tmp_path: Path) -> None:
    async with guarded("ann") as here, open_page(tmp_path, f"http://127.0.0.1:{here.port}/") as page:
        await page.run(f"const key = '{here.keys['ann']}'")
        await page.run(example("docs/auth.md"))
        await page.run("if (!ws.readyState) await new Promise((resolve) => (ws.onopen = resolve))")
        heard = "new Promise((resolve) => (ws.onmessage = (event) => resolve(event.data)))"
        assert await page.run(f'ws.send(\'{{"type":"ping"}}\'); await {heard}') == '{"type":"pong"}'
        assert await page.run("ws.protocol") == "llm-chat.v1"
