"""The links between the peers and the broker: messages keep their order, take their time and can be lost with their
link. What runs over them is the service's own ManagerLink."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from shared.brokers.manager import link
from shared.brokers.manager.home import Home
from tests.simulation.loop import Lane, Process, SimLoop

if TYPE_CHECKING:
    from tests.simulation.broker import BrokerProcess, Peer

HANDSHAKE = 2.0  # seconds that a peer waits for a broker that is stopped (shared/brokers/manager/wire.py)
LOOKS = 4


class Network:
    """`broker` is the one that listens, if any."""

    def __init__(self, loop: SimLoop, chance: Random) -> None:
        self.loop = loop
        self.broker: BrokerProcess | None = None
        self.wires: list[Wire] = []
        self._chance = chance
        self._pace = chance.choice((0.0002, 0.001, 0.005))
        self._hiccups = chance.choice((0.0, 0.002, 0.02))  # share of messages that take long

    def delay(self) -> float:
        """Seconds that a message takes."""
        chance = self._chance
        if chance.random() < self._hiccups:
            return chance.uniform(0.02, 0.4)
        return self._pace * (0.2 + chance.random())

    async def open_wire(self, name: str, on_lost: Callable[["Wire"], None]) -> "Wire":
        """As shared.brokers.manager.wire.open_wire."""
        lane = self.loop.current
        await asyncio.sleep(self.delay() * 4)
        for _ in range(LOOKS):
            broker = self.broker
            if broker is None:
                raise ConnectionRefusedError
            if not broker.process.frozen:
                wire = Wire(self, lane, name, broker.admit(name), on_lost)
                self.wires = [*(one for one in self.wires if one.open), wire]
                return wire
            await asyncio.sleep(HANDSHAKE / LOOKS)
        raise OSError("timed out")

    def cut(self, process: Process) -> None:
        """Break all links of a peer."""
        for wire in self.wires:
            if wire.open and wire.lane.process is process:
                wire.cut()

    def doom(self, process: Process, kind: str, moment: str) -> None:
        """Break a peer's link of that kind (calls, waits) just when it sends the next request, or gets the next
        answer: that is the message which gets lost."""
        for wire in self.wires:
            if wire.open and wire.lane.process is process and wire.name.endswith(kind):
                wire.doom = moment

    def broker_died(self) -> None:
        """Its sockets close with it."""
        self.broker = None
        for wire in self.wires:
            wire.cut()


class Wire:
    """A connection as a peer has it: see shared.brokers.manager.wire.Wire."""

    def __init__(
        self, network: Network, lane: Lane, name: str, peer: "Peer", on_lost: Callable[["Wire"], None]
    ) -> None:
        self.open = True
        self.lane = lane
        self.name = name
        self.doom = ""  # request or answer: what gets lost, and the wire with it
        self._network = network
        self._peer = peer
        self._on_lost = on_lost
        self._waiting: deque[Callable[[bytes], None]] = deque()
        self._out_at = self._in_at = 0.0  # when the last message arrives, either way
        self._cut = False
        peer.reply = self._reply

    def request(self, method: str, args: tuple[Any, ...], answered: Callable[[bytes], None]) -> None:
        """Send."""
        if self.open:
            self._waiting.append(answered)
            self._send(self._peer.receive, method, args)

    def close(self) -> None:
        """What was sent still arrives, and then the end."""
        if self.open:
            self.open = False
            self._waiting.clear()
            self._send(self._peer.end)
            self._network.loop.call_soon(self._on_lost, self)

    def cut(self) -> None:
        """Whoever cuts it: both ends hear of it, each in its own time, and what comes later than that is lost."""
        if not self._cut:
            self._cut = True
            loop, delay = self._network.loop, self._network.delay
            loop.post(self.lane, loop.now + delay(), self._lost)
            loop.post(self._peer.lane, loop.now + delay(), self._peer.end)

    def _send(self, arrive: Callable[..., None], *args: Any) -> None:
        if self.doom == "request":
            self.cut()
        if not self._cut:
            loop = self._network.loop
            self._out_at = max(self._out_at, loop.now + self._network.delay())
            loop.post(self._peer.lane, self._out_at, arrive, *args)

    def _reply(self, answer: bytes) -> None:
        """The broker's end sends."""
        if self.doom == "answer":
            self.cut()
        if not self._cut:
            loop = self._network.loop
            self._in_at = max(self._in_at, loop.now + self._network.delay())
            loop.post(self.lane, self._in_at, self._answer, answer)

    def _answer(self, answer: bytes) -> None:
        if self.open:
            self._waiting.popleft()(answer)

    def _lost(self) -> None:
        if self.open:
            self.open = False
            self._waiting.clear()
            self._on_lost(self)


class Address:
    """Stands for a Home where a ManagerLink wants one."""

    directory = Path("simulated")

    def __init__(self, network: Network) -> None:
        self.network = network

    def as_home(self) -> Home:
        """For the type checker."""
        return cast(Home, self)


@contextmanager
def simulated_wires() -> Iterator[None]:
    """For as long as a simulation runs, links are opened on its network."""

    async def open_wire(home: Any, name: str, on_lost: Callable[[Any], None]) -> Wire:
        network: Network = home.network
        return await network.open_wire(name, on_lost)

    with patch.object(link, "open_wire", open_wire):
        yield
