"""wscat as people use it, in a terminal: what the README and docs/auth.md show is what they see."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clients.environments import node_with
from tests.gateway.auth.guarded import guarded
from tests.gateway.housing import House, house

pytestmark = pytest.mark.timeout(200)  # for its installation
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
CONNECTED = "Connected (press CTRL+C to quit)"


class Terminal:
    """What wscat shows, and its keyboard."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = b""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def type(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode())

    async def shows(self, *wanted: str) -> list[str]:
        """Wait until these lines are there, in this order; returns all lines."""
        async with asyncio.timeout(15):
            while True:
                lines = CONTROL.sub("", self._shown.decode()).split("\n")
                rest = iter([line.removeprefix("> ") for line in lines])
                if all(any(line.startswith(one) for line in rest) for one in wanted):
                    return lines
                self._more.clear()
                await self._more.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            self._shown += os.read(self._descriptor, 65_536)
        except OSError:  # it has ended
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._more.set()


@asynccontextmanager
async def wscat(*arguments: str) -> AsyncIterator[Terminal]:
    directory = await asyncio.to_thread(node_with, "wscat@^6")
    ours, its = os.openpty()
    program = directory / "node_modules" / "wscat" / "bin" / "wscat"
    process = await asyncio.create_subprocess_exec("node", str(program), *arguments, stdin=its, stdout=its, stderr=its)
    os.close(its)
    terminal = Terminal(ours)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        terminal.close()


async def answer(here: House) -> None:
    run = await here.run()
    for number in range(1, 5):
        run.say(f"\nchunk {number}: Hello, LLM!" if number > 1 else "chunk 1: Hello, LLM!")
    run.done("\nchunk 5: Hello, LLM!")


async def test_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    transcript = readme.split("npx wscat -c ws://localhost:8080/ws` prints:")[1].split("\n\n")[1]
    connected, said, *chunks = [line.strip() for line in transcript.splitlines()][:-1]
    async with house() as here, wscat("--no-color", "-c", f"ws://127.0.0.1:{here.gate.port}/ws") as terminal:
        await terminal.shows(connected)
        terminal.type(said.removeprefix("> "))
        await answer(here)
        await terminal.shows(connected, said.removeprefix("> "), *chunks)
    assert connected == CONNECTED
    assert chunks == [f"< chunk {number}: Hello, LLM!" for number in range(1, 6)]


async def test_a_key_by_header_and_by_subprotocol_and_none() -> None:
    async with guarded("ann") as here:
        to = ("--no-color", "-c", f"ws://127.0.0.1:{here.port}/ws")
        key = here.keys["ann"]
        async with wscat(*to) as terminal:
            await terminal.shows("error: Unexpected server response: 401")
        async with wscat("-H", f"Authorization: Bearer {key}", *to) as terminal:
            await terminal.shows(CONNECTED)
        async with wscat("-s", "llm-chat.v1", "-s", f"llm-chat.key.{key}", *to) as terminal:
            await terminal.shows(CONNECTED)
            terminal.type('{"type":"start"}')
            await terminal.shows('< {"type":"session","session_id":"s_')
            here.revoke_all()
            await terminal.shows("Disconnected (code: 4401")
