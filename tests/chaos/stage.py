"""Everything that a run consists of, put up and taken down: processes, doors, clients, the journal of the harness."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.plain_client import PlainClient
from tests.chaos.cluster import Cluster, Node
from tests.chaos.ground import Ground
from tests.chaos.proxy import Door, Passage, Straight, Target
from tests.chaos.records import Journal

LOOK = 0.25  # seconds between two looks at the engine processes
FINISH = 120.0  # seconds for clients to finish what they have begun and to read it again
QUIET = 15.0  # seconds for the processes to come to rest
REST = 0.5  # seconds of rest, before the base line is taken and before the quiet is believed
SPARE = {"fds": 3, "threads": 1}  # by which a process at rest may differ from its base line, until QUIET is over


class Stuck(Exception):
    """Clients did not finish; the message says which."""


class Client(Protocol):
    """What talks to the service."""

    name: str

    async def run(self) -> None:
        """Until the run is over."""
        ...


class Stage:
    """One run. `begin` puts it up; `finish` brings it to rest; `end` leaves nothing behind, whatever happened."""

    def __init__(
        self,
        directory: Path,
        records: Path,
        settings: Mapping[str, str],
        seed: int,
        broker: str = "manager",
        ground: Ground = Ground(),  # noqa: B008  # it is immutable
    ) -> None:
        self.records = records
        self.journal = Journal(records, "harness-run")
        self.settings = dict(settings)
        self.cluster = Cluster(directory, records, self.journal, settings, broker, ground)
        self.doors: dict[str, Door | Straight] = {}
        self.chunks = int(settings["LLM_CHAT_ECHO_CHUNKS"])
        self.hall = Hall(records, [], self.chunks, seed)
        self.clients: list[Client] = []
        self._seed = seed
        self._base: list[dict[str, Any]] = []
        self._talks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def begin(self, gateways: int, workers: int, port: int, *, direct: bool = False) -> None:
        """Start all processes, open the doors, take the base line. Raises cluster.NotStarted and OSError."""
        self._stack.callback(self.cluster.end)
        await self.cluster.start(gateways, workers)
        for number, gateway in enumerate(self.cluster.gateways):
            target = Target(self.cluster.ground.address(gateway.name), self.cluster.ports[gateway.name])
            self.doors[gateway.name] = await self._door(target, port + number if port else 0, direct)
        self.hall.doors = list(self.doors.items())
        await self._warm_up()
        self._base = self.cluster.measure()
        self._background(self._look())

    def admit(self, clients: Sequence[Client]) -> None:
        """Let clients talk, until `finish`."""
        self.clients += clients
        self._talks += [asyncio.ensure_future(client.run()) for client in clients]

    async def all_said(self) -> None:
        """Wait until every client has said what it had to say. Raises what one of them raised."""
        await asyncio.gather(*self._talks)

    async def finish(self) -> None:
        """Let clients end, wait for rest, record it. Raises Stuck, and what a client raised."""
        self.hall.over.set()
        await self._let_finish()
        await self._record_quiet()

    async def end(self) -> None:
        """Take everything down."""
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._stack.aclose()
        self.journal.close()

    def passages(self) -> list[Passage]:
        """The connections that are there now, in an order that is the same for the same ports."""
        return sorted((one for door in self.doors.values() for one in door.passages), key=lambda one: one.port)

    def nodes(self) -> list[Node]:
        """All but the broker."""
        return [*self.cluster.gateways, *self.cluster.workers]

    async def _let_finish(self) -> None:
        if not self._talks:
            return
        done, late = await asyncio.wait(self._talks, timeout=FINISH)
        for task in done:
            task.result()
        if late:
            names = [client.name for client, task in zip(self.clients, self._talks, strict=True) if task in late]
            raise Stuck(f"not finished within {FINISH:.0f} s: {', '.join(names)}")

    def _background(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._stack.callback(task.cancel)
        return task

    async def _door(self, target: Target, port: int, direct: bool) -> Door | Straight:
        if direct:
            return Straight(target)
        door = Door(target)
        self._stack.push_async_callback(door.close)
        await door.open(port)
        return door

    async def _warm_up(self) -> None:
        """A message through every gateway, so that what is opened at the first use is in the base line."""
        warm = [PlainClient(self.hall, 900 + number) for number in range(2 * len(self.doors))]
        try:
            await asyncio.gather(*(client.ask() for client in warm))
        finally:
            for client in warm:
                await client.hang_up()
                client.journal.close()
        await asyncio.sleep(REST)

    async def _look(self) -> None:
        while True:
            await asyncio.to_thread(self.cluster.look)
            await asyncio.sleep(LOOK)

    async def _record_quiet(self) -> None:
        deadline = asyncio.get_running_loop().time() + QUIET
        while not await self._at_rest() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # processes
            await asyncio.sleep(REST)
        await asyncio.sleep(REST)
        self.cluster.look()
        stats = await self.cluster.stats()
        if stats is None:
            raise Stuck("no gateway could say how the broker is, when all was over")
        self.journal.write("quiet", stats=stats, processes=self.cluster.measure(), base=self._base)

    async def _at_rest(self) -> bool:
        stats = await self.cluster.stats()
        if stats is None or stats["running"] or stats["queued"]:
            return False
        base = {(one["role"], one["name"]): one for one in self._base}
        return all(
            all(one[name] - before[name] <= spare for name, spare in SPARE.items())
            for one in self.cluster.measure()
            if (before := base.get((one["role"], one["name"]))) is not None
        )
