"""The brokers under test, each put on a stage by name, and peers that speak to them as gateway and worker do."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from shared.broker import GatewayBroker, WorkerBroker
from shared.brokers import open_gateway_broker, open_worker_broker
from shared.brokers.limits import limits_of
from shared.brokers.manager.home import Home
from shared.brokers.manager.link import ManagerLink
from shared.brokers.memory import MemoryBroker
from shared.brokers.redis.link import RedisLink
from shared.brokers.sides import GatewaySide
from shared.clock import SystemClock
from shared.messages import (
    Accepted,
    Attached,
    Batch,
    Cursor,
    Delta,
    Done,
    Event,
    Flag,
    Flush,
    Item,
    Lease,
    Polled,
    Refusal,
    Started,
    Submission,
    Takeover,
    Tally,
    Timing,
    Usage,
    decode_events,
    encode_events,
    text_sha256,
)
from shared.settings import LeaseSettings, QueueSettings, ReplySettings, Settings
from tests.redis_server import RedisServer

LEASE = 0.8  # seconds: short to wait for, long for a busy machine
EVERYTHING = 1 << 30


def settings(lease: float = LEASE, **values: Any) -> Settings:
    """Short leases; `values` by the names of Settings."""
    return Settings(lease=LeaseSettings(seconds=lease), **values)


def short_queue(limit: int = 10_000, timeout: float = 600.0, max_bytes: int = 1 << 28) -> dict[str, Any]:
    return {"queue": QueueSettings(limit=limit, timeout=timeout, max_bytes=max_bytes)}


def short_memory(retention: float = 900.0, max_bytes: int = 4 << 20) -> dict[str, Any]:
    return {"reply": ReplySettings(retention=retention, max_bytes=max_bytes)}


class Broker(Protocol):
    """A broker that is running somewhere."""

    async def gateway(self, name: str) -> GatewayBroker: ...

    async def worker(self, name: str) -> WorkerBroker: ...

    async def stop(self) -> None:
        """When all peers have said goodbye."""
        ...


class Memory:
    """In this event loop."""

    def __init__(self, settings: Settings) -> None:
        self._broker = MemoryBroker(SystemClock(), limits_of(settings))

    async def gateway(self, name: str) -> GatewayBroker:
        return self._broker.gateway(name)

    async def worker(self, name: str) -> WorkerBroker:
        return self._broker.worker(name)

    async def stop(self) -> None:
        self._broker.close()


class Manager:
    """In a process of its own, started by hand."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings.model_copy(
            update={"broker": settings.broker.model_copy(update={"url": f"manager://{directory}"})}
        )
        self._directory = directory
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._directory.mkdir(exist_ok=True)
        with open(self._directory / "output", "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "shared.brokers.manager"],
                env={**os.environ, **self._settings.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def gateway(self, name: str) -> GatewayBroker:
        while not (self._directory / "broker.sock").exists():  # else this peer would start a broker of its own
            assert self._process.poll() is None, (self._directory / "output").read_text()
            await asyncio.sleep(0.01)
        return await open_gateway_broker(self._settings, name)

    async def worker(self, name: str) -> WorkerBroker:
        return await open_worker_broker(self._settings, name)

    async def stop(self) -> None:
        self.end()

    def end(self) -> None:
        """Politely; its log must be clean."""
        self._process.terminate()
        status = self._process.wait(5)
        output = (self._directory / "output").read_text()
        assert status == 0, output
        assert "Traceback" not in output, output


class Mortal(Manager):
    """One that may die."""

    async def gateway(self, name: str) -> GatewayBroker:
        """It does not start a broker of its own when this one is gone."""
        link = ManagerLink(Home(self._directory), name)
        link.start()
        return GatewaySide(link, name)

    def cut(self, side: GatewayBroker) -> None:
        """The link of this gateway breaks, its drain under way. No peer can do that to itself but by its insides."""
        assert isinstance(side, GatewaySide)
        link = side._link
        assert isinstance(link, ManagerLink)
        assert link._poller is not None
        link._poller.close()

    def die(self) -> None:
        """Without a word, and be born again at the same address, with an empty memory."""
        self._process.kill()
        self._process.wait(5)
        self._process = self._start()


class RedisBroker:
    """In a Redis server, which others may use before and after: it begins with nothing."""

    def __init__(self, settings: Settings, server: RedisServer) -> None:
        self._settings = settings.model_copy(update={"broker": settings.broker.model_copy(update={"url": server.url})})
        self.server = server
        server.empty()

    async def gateway(self, name: str) -> GatewayBroker:
        return await open_gateway_broker(self._settings, name)

    async def worker(self, name: str) -> WorkerBroker:
        return await open_worker_broker(self._settings, name)

    async def stop(self) -> None:
        """No key is left but the two that are meant to be."""
        assert self.server.keys() <= {"{llm-chat}:meta", "{llm-chat}:dead", "{llm-chat}:spent", "{llm-chat}:spenders"}

    def cut(self, side: GatewayBroker) -> None:
        """The link of this gateway breaks, its drain under way."""
        assert isinstance(side, GatewaySide)
        link = side._link
        assert isinstance(link, RedisLink)
        assert link._pair is not None
        link._pair.wakes.abort()

    def die(self) -> None:
        """Without a word, and be born again at the same address, with an empty memory."""
        self.server.kill()
        self.server.start()


class Front:
    """A gateway process: what it has drained so far is in `items`."""

    def __init__(self, side: GatewayBroker) -> None:
        self.side = side
        self.items: list[Item] = []
        self.batches: list[Batch] = []

    async def chat(self, session: str = "s", owner: str = "ann") -> Attached:
        """Open and attach."""
        await self.side.open(session, owner, "be kind", "echo")
        return await self.side.attach(session, None)

    async def submit(self, id: str, session: str = "s", floor: int = 0) -> Accepted:
        return await self.side.submit(Submission(session, id, floor, f"request {id}".encode()))

    async def drain(self) -> Batch:
        batch = await self.side.drain()
        self.batches.append(batch)
        self.items += batch.items
        return batch

    async def drain_until(self, enough: Callable[[], object]) -> list[Item]:
        while not enough():
            await self.drain()
        return self.items

    async def drain_end(self, id: str, session: str = "s") -> Event:
        """The terminal of that message, once it is there."""
        found: list[Item] = []

        def ended() -> bool:
            found[:] = [item for item in self.items if item.terminal and (item.session, item.id) == (session, id)]
            return bool(found)

        await self.drain_until(ended)
        return decode_events(found[0].events)[-1]

    async def kept(self, session: str = "s", after: Cursor | None = None, limit: int = EVERYTHING) -> list[Item]:
        """All that is stored behind `after`, read page by page."""
        page = await self.side.read(session, after, limit)
        items = list(page.items)
        while page.more:
            page = await self.side.read(session, items[-1].cursor, limit)
            assert page.recovered
            items += page.items
        return items

    async def raw(self, session: str = "s") -> bytes:
        """The stored bytes."""
        return b"".join(item.events for item in await self.kept(session))


class Back:
    """A worker process."""

    def __init__(self, side: WorkerBroker) -> None:
        self.side = side
        self.seen = 0
        self.held: list[int] = []

    async def poll(self, free: int = 0, alone: bool = False, held: list[int] | None = None) -> Polled:
        polled = await self.side.poll(self.seen, self.held if held is None else held, free, alone)
        self.seen = polled.number
        self.held = [number for number in self.held if number not in polled.lost]
        self.held += [lease.number for lease in polled.leases]
        return polled

    async def lease(self, alone: bool = False) -> "Attempt":
        """The next one that this worker gets."""
        while not (leases := (await self.poll(1, alone)).leases):
            pass
        return Attempt(leases[0], self.side)

    async def idle(self, polls: int = 1) -> None:
        """Nothing is to be had for a while."""
        for _ in range(polls):
            assert (await self.poll(1)).leases == []


class Attempt:
    """A worker's try at a reply."""

    def __init__(self, lease: Lease, side: WorkerBroker) -> None:
        self.lease = lease
        self._side = side
        self.next = 0
        self.text = lease.text
        self.pieces = lease.tally.pieces

    def flush(self, *texts: str, first: int | None = None, end: bool = False, exact: bool = True) -> Flush:
        """The next flush, with the head where it is due; with `first` one that is out of turn."""
        first = self.next if first is None else first
        lease, events, flags = self.lease, [Delta(text) for text in texts], Flag(0)
        head: list[Event] = []
        if first == 0 and (texts or not end):
            head = [Takeover(exact) if lease.visible else Started("echo")]
            flags |= Flag(0) if lease.visible and exact else Flag.RESTART if lease.visible else Flag.STARTED
        base = ("", 0) if flags & Flag.RESTART else (self.text, self.pieces)
        text, pieces = base[0] + "".join(texts), base[1] + len(texts)
        tail: list[Event] = []
        if end:
            tail = [Done("stop", Usage(1, pieces, False), Timing(0, 0, 0), text_sha256(text))]
            flags |= Flag.TERMINAL
        all_events = [*head, *events, *tail]
        tally = Tally(pieces, pieces, 1, 0)
        return Flush(lease.number, first, len(all_events), int(flags), tally, encode_events(all_events))

    async def add(self, *texts: str, end: bool = False, exact: bool = True) -> list[Refusal]:
        """Append the next flush."""
        flush = self.flush(*texts, end=end, exact=exact)
        refusals = await self._side.append([flush])
        if not refusals:
            self.next += flush.count
            self.pieces = flush.tally.pieces
            self.text = "".join(texts) if flush.flags & Flag.RESTART else self.text + "".join(texts)
        return refusals


class Stage:
    """One broker for one test; whoever comes on it goes when the test ends."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._peers: list[GatewayBroker | WorkerBroker] = []

    async def front(self, name: str = "gateway-1") -> Front:
        """A gateway that has begun to drain."""
        side = await self.broker.gateway(name)
        self._peers.append(side)
        front = Front(side)
        first = await front.drain()
        assert first.lost  # there was nothing to be subscribed to
        return front

    async def back(self, name: str = "worker-1") -> Back:
        side = await self.broker.worker(name)
        self._peers.append(side)
        return Back(side)

    async def clear(self, *sessions: str) -> None:
        """G11, after every test: when the sessions are forgotten and all have left, nothing is."""
        for peer in self._peers:
            await peer.close()
        sweeper = await self.broker.gateway("sweeper")
        for session in sessions:
            await sweeper.forget(session)
        stats = await sweeper.stats()
        await sweeper.close()
        left = stats.sessions, stats.queued, stats.running, stats.suspects, stats.workers, stats.gateways
        assert left == (0, 0, 0, 0, 0, 0)
        assert stats.kept_bytes == 0


Start = Callable[..., Coroutine[Any, Any, Stage]]
