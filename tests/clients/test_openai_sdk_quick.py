"""The official Python SDK in little, for the usual run: the gateway is in this process, and so is its worker."""

import asyncio
import json
from pathlib import Path

import pytest

from shared.request import decode_request
from tests.clients.environments import python_with
from tests.gateway.housing import House, house
from tests.gateway.openai.speaking import url_of

pytestmark = pytest.mark.timeout(200)  # for its installation


async def work(home: House) -> None:
    """Say back what is said."""
    while True:
        for run in home.worker.take():
            run.say("You said ")
            run.done(decode_request(run.lease.request).turns[-1].content)
        home.worker.renew()
        await asyncio.sleep(0.005)


async def test_chat_responses_and_websocket_mode() -> None:
    python = await asyncio.to_thread(python_with, "openai>=3,<4", "websockets")
    script = Path(__file__).parent / "openai_python.py"
    async with house(gateways=2) as home:
        working = asyncio.create_task(work(home))
        try:
            urls = [f"{url_of(home, number)}/v1" for number in (0, 1)]
            names = ("chat", "chat_stream", "responses_managed", "socket")
            command = (str(python), str(script), *urls, *names)
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            output, _ = await process.communicate()
        finally:
            working.cancel()
    assert process.returncode == 0
    assert json.loads(output) == {
        "chat": ["You said Hello", "stop", True],
        "chat_stream": ["You said Hello", "assistant", "stop", True, 1],
        "responses_managed": "You said Hello",
        "socket": [["You said Hello", "You said Bye"], "error", 400, "previous_response_not_found"],
    }
