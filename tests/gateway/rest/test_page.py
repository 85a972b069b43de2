"""docs/rest.md says what is so, and its examples work."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import refusals
from gateway.bodies import LARGEST
from gateway.refusals import STATUSES
from gateway.streams import PING_SECONDS, SEND_SECONDS
from shared.errors import ChatError
from tests.clients.environments import node_with
from tests.conftest import require
from tests.gateway.housing import House, house

PAGE = (Path(__file__).parents[3] / "docs" / "rest.md").read_text()


def own_errors() -> Iterator[type[ChatError]]:
    yield from (
        one
        for one in vars(refusals).values()
        if isinstance(one, type) and one.__module__ == refusals.__name__ and issubclass(one, ChatError)
    )


def test_every_code_of_its_own_and_its_status() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3} \| \w+) \|", PAGE, re.MULTILINE))
    assert rows == {one.code: f"{STATUSES[one.code]} | {'yes' if one.retryable else 'no'}" for one in own_errors()}


def test_every_other_code_and_its_status() -> None:
    sentence = PAGE[PAGE.index("Those of the protocol have") :]
    said = {
        code: int(status)
        for status, codes in re.findall(r"(\d{3}) for ((?:`\w+`(?:, | and |\s)*)+)", sentence.replace("\n", " "))
        for code in re.findall(r"`(\w+)`", codes)
    }
    assert said == {code: status for code, status in STATUSES.items() if code not in {one.code for one in own_errors()}}


def test_the_numbers_are_those_of_the_code() -> None:
    for number in (f"{PING_SECONDS:.0f} s of silence", f"nothing for {SEND_SECONDS:.0f} s", f"{LARGEST >> 20} MiB"):
        assert number in PAGE


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


async def run(program: str, *arguments: str) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=pipe, stderr=pipe)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 15)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert err == b"", err.decode()
    return out.decode()


async def answer(here: House) -> None:
    attempt = await here.run()
    attempt.say("chunk 1: Hello, LLM!")
    attempt.done("\nchunk 2: Hello, LLM!")


async def test_the_example_for_curl() -> None:
    require(shutil.which("curl"), "needs curl: apt-get install curl")
    async with house() as here:
        script = example("sh").replace("http://localhost:8080", f"http://127.0.0.1:{here.gate.port}")
        answering = asyncio.create_task(answer(here))
        out = await run("sh", "-ec", script.replace("--max-time 1", "--max-time 1 || true"))
        await answering

    delta = re.escape(r'"text":"chunk 1: Hello, LLM!"}')
    assert len(re.findall(rf'event: delta\ndata: {{"type":"delta","id":"m1","cursor":"[^"]+",{delta}', out)) == 2
    assert out.count("event: done") == 2
    assert out.count("event: session\n") == 2
    assert here.memory.state.stats().sessions == 0


@pytest.mark.timeout(180)  # it may have to be installed
async def test_the_example_for_a_browser(tmp_path: Path) -> None:
    modules = node_with("eventsource@^3.0.7")
    async with house() as here:
        origin = f"http://127.0.0.1:{here.gate.port}"
        script = tmp_path / "page.mjs"
        script.write_text(
            'import { webcrypto } from "node:crypto";\nglobalThis.crypto ??= webcrypto;\n'  # Node 18 lacks it
            f'import {{ createRequire }} from "node:module";\nconst require = createRequire("{modules}/");\n'
            f'const {{ EventSource: Source }} = require("eventsource");\n'
            f'const EventSource = class extends Source {{ constructor(path) {{ super("{origin}" + path); }} }};\n'
            f'const fetch = (path, options) => globalThis.fetch("{origin}" + path, options);\n'
            "const print = console.log;\nconsole.log = (text) => { print(text); source.close(); };\n"
            f"{example('js')}\n"
        )
        answering = asyncio.create_task(answer(here))
        out = await run("node", str(script))
        await answering

    assert out == "chunk 1: Hello, LLM!\nchunk 2: Hello, LLM!\n"
