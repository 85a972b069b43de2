"""A real browser without a window, driven by the protocol of its developer tools.

async with open_page(tmp_path, "http://127.0.0.1:8080/") as page:
    await page.run("await (await fetch('/livez')).json()")      # as if pasted into its console
"""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import require

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage")
STARTED = b"DevTools listening on "
PATIENCE = 15.0  # seconds for whatever the browser is asked


class Page:
    """One page. `console`: what its scripts have logged, a line each."""

    def __init__(self, socket: ClientConnection) -> None:
        self.console: list[str] = []
        self._socket = socket
        self._session = ""
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear())

    async def open(self, url: str) -> None:
        """Load an address."""
        target = await self._ask("Target.createTarget", url="about:blank")
        attached = await self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime"):
            await self._ask(f"{domain}.enable")
        await self._ask("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def run(self, script: str) -> Any:
        """Run a script as the console does; returns what its last expression comes to, as JSON has it. Raises
        AssertionError with what it throws."""
        answer = await self._ask(
            "Runtime.evaluate", expression=script, replMode=True, awaitPromise=True, returnByValue=True
        )
        thrown = answer.get("exceptionDetails")
        assert thrown is None, thrown["exception"].get("description", thrown["text"])
        return answer["result"].get("value")

    async def logged(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """Wait for what the console shows."""
        async with asyncio.timeout(PATIENCE):
            while not enough(self.console):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.01)
        return self.console

    async def close(self) -> None:
        """The whole browser ends."""
        with suppress(Exception):
            await self._ask("Browser.close")
        self._hearing.cancel()
        await asyncio.wait([self._hearing])

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session and not method.startswith("Browser.") else {}
        await self._socket.send(
            msgspec.json.encode({"id": number, "method": method, "params": params, **session}).decode()
        )
        return await asyncio.wait_for(answer, PATIENCE)

    async def _hear(self) -> None:
        async for text in self._socket:
            said = msgspec.json.decode(text)
            match said.get("method"):
                case None:
                    self._answer(said)
                case "Page.loadEventFired":
                    self._loaded.set()
                case "Runtime.consoleAPICalled":
                    self.console.append(" ".join(str(one.get("value")) for one in said["params"]["args"]))

    def _answer(self, said: dict[str, Any]) -> None:
        answer = self._waiting.pop(said["id"])
        if answer.done():
            return
        if "error" in said:
            answer.set_exception(AssertionError(said["error"]["message"]))
        else:
            answer.set_result(said["result"])


@asynccontextmanager
async def open_page(directory: Path, url: str, *options: str) -> AsyncIterator[Page]:
    """A page of a browser of its own, whose files go to `directory`."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    require(program, "needs a browser: apt-get install chromium-headless-shell")
    assert program is not None
    root = ("--no-sandbox",) if os.getuid() == 0 else ()  # which its sandbox refuses to be
    process = await asyncio.create_subprocess_exec(
        program,
        *OPTIONS,
        *root,
        *options,
        f"--user-data-dir={directory / 'browser'}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with connect(await _address(process), max_size=None, ping_interval=None) as socket:
            page = Page(socket)
            try:
                await page.open(url)
                yield page
            finally:
                await page.close()
        await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    """Of its developer tools."""
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(PATIENCE):
        async for line in process.stderr:
            said += line
            if line.startswith(STARTED):
                return line.removeprefix(STARTED).decode().strip()
    raise AssertionError(said.decode(errors="replace"))
