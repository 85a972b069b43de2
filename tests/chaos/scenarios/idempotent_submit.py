"""The same id, sent many times at once over several connections on both gateways, runs once."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.chaos.checker import Verdict
from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import ANSWER, Habits, JsonClient
from tests.chaos.clients.line import Line
from tests.chaos.figure import Figure
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, exactly, settings
from tests.chaos.stage import Stage

CONNECTIONS = 10
ROUNDS = 20
REST = 0.2  # seconds in which what should not come could come


class Insister(JsonClient):
    """`times`: how often each message is sent."""

    kind = "insister"

    def __init__(self, hall: Hall, number: int, habits: Habits, times: int) -> None:
        super().__init__(hall, number, habits)
        self._times = times
        self._others: list[Line] = []

    async def said(self, line: Line) -> None:
        """See JsonClient: the same again over all connections, all at once."""
        if not self._others:
            self._others = [await self._join() for _ in range(min(CONNECTIONS, self._times) - 1)]
        lines = [line, *self._others]
        frame = {"type": "message", "id": self._asking, "content": f"{self.name}/{self._asking}"}
        await asyncio.gather(*(lines[number % len(lines)].say(frame) for number in range(1, self._times)))

    async def ask(self) -> bool:
        """See JsonClient; reads on all connections to the end of the reply."""
        answered = await super().ask()
        await asyncio.gather(*(self._read_to_the_end(line) for line in self._others))
        await self.listen(REST)
        return answered

    async def hang_up(self, by: str = "us") -> None:
        """See JsonClient."""
        for other in self._others:
            await other.close(by)
        self._others.clear()
        await super().hang_up(by)

    async def _join(self) -> Line:
        line = await self.open()
        await line.say({"type": "resume", "session_id": self.session, **self._after()})
        while (await line.next(ANSWER))["type"] != "session":
            pass
        return line

    def _after(self) -> dict[str, str]:
        return {"after": self.cursors[-1]} if self.cursors else {}

    async def _read_to_the_end(self, line: Line) -> None:
        frame: dict[str, Any] = {}
        while frame.get("id") != self._asking or "cursor" not in frame or frame["type"] not in ("done", "error"):
            frame = await line.next(ANSWER)


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """Rounds of so many sends."""
    insister = Insister(stage.hall, 0, Habits(pause=(0.0, 0.1), messages=ROUNDS), size)
    stage.admit([insister])
    await stage.all_said()
    generations = {cursor.partition("-")[0] for cursor in insister.cursors}
    return [
        exactly("ended", "messages ended", len(insister.ended), ROUNDS),
        exactly("generations", f"generations of {ROUNDS} messages, each sent {size} times", len(generations), ROUNDS),
    ]


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """As workers and gateways saw it."""
    ran = [violation for violation in verdict.violations if violation.rule == "idempotent"]
    return [exactly("twice", "messages that ran more than once", len(ran), 0)]


SCENARIO = Scenario("sends of one id at once, 20 times over", 100, settings(5, 0.02), play, weigh)
