"""Autobahn's test suite of WebSocket servers, all of it but compression, which is not offered (sections 12 and 13).

It needs `wstest` of the package autobahntestsuite, which runs on Python 2.7: in the PATH, or named by WSTEST. Its
report goes to the folder that WSTEST_REPORT names, if one is.
"""

import asyncio
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.conftest import require
from tests.gateway.serving import serving

WSTEST = os.environ.get("WSTEST") or shutil.which("wstest")
CASES = 301  # in sections 1 to 7, 9 and 10
FINE = {"OK", "INFORMATIONAL"}  # the latter of cases in which a server may do as it likes


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it hears."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def run_suite(url: str, folder: Path) -> dict[str, dict[str, str]]:
    """What it found, by case."""
    spec = folder / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(folder),
                "servers": [{"agent": "gateway", "url": url}],
                "cases": ["*"],
                "exclude-cases": ["12.*", "13.*"],
                "exclude-agent-cases": {},
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        str(WSTEST), "-m", "fuzzingclient", "-s", str(spec), cwd=folder, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    found: dict[str, dict[str, str]] = json.loads((folder / "index.json").read_text())["gateway"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_autobahns_server_suite(tmp_path: Path) -> None:
    require(WSTEST, "needs wstest: pip install autobahntestsuite, into an environment of Python 2.7")
    folder = Path(os.environ.get("WSTEST_REPORT") or tmp_path)
    async with serving(echo, max_message_bytes=64 << 20) as served:
        found = await run_suite(served.url, folder)
    bad = {case: one for case, one in found.items() if not {one["behavior"], one["behaviorClose"]} <= FINE}
    assert bad == {}
    assert Counter(one["behavior"] for one in found.values()) == {"OK": CASES - 3, "INFORMATIONAL": 3}
