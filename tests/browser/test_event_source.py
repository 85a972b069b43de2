"""A browser's own EventSource on a session's stream."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import open_page
from tests.gateway.housing import House, house

pytestmark = pytest.mark.timeout(60)
FOLLOW = """
const begun = await (await fetch("/api/sessions", { method: "POST" })).json();
const source = new EventSource(begun.events);
const seen = [];
let opened = 0;
source.onopen = () => (opened += 1);
let refused;
const turnedAway = new Promise((resolve) => (refused = resolve));
source.addEventListener("error", (event) => event.data && refused(JSON.parse(event.data).code));
for (const type of ["session", "accepted", "started", "delta", "takeover", "done"])
  source.addEventListener(type, (event) => seen.push(JSON.parse(event.data)));
const ended = new Promise((resolve) => source.addEventListener("done", resolve));
const answer = await fetch(`${begun.events.replace("/events", "/messages")}`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ id: "m1", content: "Hello" }),
});
answer.status;
"""


async def test_it_comes_back_by_itself_and_gets_every_event_once(tmp_path: Path) -> None:
    async with house() as here, open_page(tmp_path, f"http://127.0.0.1:{here.gate.port}/") as page:
        assert await page.run(FOLLOW) == 202
        run = await here.run()
        for number in range(3):
            run.say(f"{number} ")
        await seen(page, 3)
        here.gate.hub.stopping = True
        drop_all(here)
        assert await page.run("await turnedAway") == "stopping"
        here.gate.hub.stopping = False
        for number in range(3, 6):
            run.say(f"{number} ")
        await seen(page, 6)
        run.done("the end")
        frames = await page.run("await ended; source.close(); seen")
        assert await page.run("opened") == 3

    events = [frame for frame in frames if "cursor" in frame]
    assert [event["type"] for event in events] == ["started", *["delta"] * 7, "done"]
    assert len({event["cursor"] for event in events}) == len(events)
    assert "".join(event.get("text", "") for event in events) == "0 1 2 3 4 5 the end"
    sessions = [frame for frame in frames if frame["type"] == "session"]
    assert [frame["recovered"] for frame in sessions] == [True, True]


async def seen(page: Any, deltas: int) -> None:
    """Wait until the page has had so many."""
    await page.run(
        f"while (seen.filter((one) => one.type === 'delta').length < {deltas})"
        " await new Promise((next) => setTimeout(next, 10))"
    )


def drop_all(here: House) -> None:
    """Every connection to the gateway is gone, without a word."""
    for connection in list(here.gate.state.connections):
        connection.transport.abort()
