"""What a fault is, and how the record of it is kept."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import psutil

from tests.chaos.cluster import Node
from tests.chaos.plan import Sort, Stroke
from tests.chaos.stage import Stage

AT_WORK = 5.0  # seconds
BEGINNING = 65_536  # bytes of its record in which an engine process that has begun something says so
LOOK = 0.1  # seconds


class NotRun(Exception):
    """A fault could not be caused; the message says why."""


class Occasion:
    """One fault as it happens. `begun` may be called several times: one fault may strike one victim after another."""

    def __init__(self, stage: Stage, stroke: Stroke) -> None:
        self.stroke = stroke
        self.has_begun = False
        self._stage = stage

    def begun(self, role: str, name: str, pids: Sequence[int] = (), **more: Any) -> None:
        """It has struck."""
        self.has_begun = True
        self._write("begun", victim={"role": role, "name": name, "pids": list(pids), **more})

    def struck(self, node: Node, pids: Sequence[int]) -> None:
        """It has struck a node."""
        self.begun(node.role, node.name, pids)

    def ended(self) -> None:
        """What was broken works again."""
        self._write("ended")

    def not_run(self, why: str) -> None:
        """It could not be caused."""
        self._write("not_run", why=why)

    def _write(self, state: str, **more: Any) -> None:
        victim = {"victim": {"role": "none", "name": "", "pids": []}} if "victim" not in more else {}
        fields = {"name": self.stroke.name, "number": self.stroke.number, "state": state}
        self._stage.journal.write("fault", **{**fields, **victim, **more})


class Fault:
    """Subclasses say what they are in `sort`, in a sentence in `words`, and cause it."""

    sort: ClassVar[Sort]
    words: ClassVar[str]

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """Strike, and mend what was broken. Raises NotRun and PermissionError where it could not be caused."""
        raise NotImplementedError

    async def strike(self, stage: Stage, stroke: Stroke) -> None:
        """Cause it and keep the record of it."""
        occasion = Occasion(stage, stroke)
        try:
            await self.cause(stage, occasion)
        except (NotRun, PermissionError, psutil.AccessDenied, psutil.NoSuchProcess) as error:
            occasion.not_run(str(error) or type(error).__name__)
            return
        if occasion.has_begun:
            occasion.ended()
        else:
            occasion.not_run("there was nothing to strike")


def pick(nodes: Sequence[Node], stroke: Stroke) -> Node:
    """The victim among nodes that the plan means."""
    return nodes[stroke.victim % len(nodes)]


async def at_work(stage: Stage, worker: Node) -> None:
    """Wait until an engine process of the worker has begun a reply: one that was started a moment ago has nothing to
    lose. After AT_WORK go on all the same: the checker will say that nothing was hit."""
    deadline = time.monotonic() + AT_WORK
    while time.monotonic() < deadline:
        paths = [stage.records / f"worker-{engine.pid}.jsonl" for engine in worker.engines()]
        if any(path.exists() and b'"begun"' in path.read_bytes()[:BEGINNING] for path in paths):
            return
        await asyncio.sleep(LOOK)
