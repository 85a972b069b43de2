"""A WebSocket between a person and a gateway: frames keep their order, take their time, and can be lost with it.

The gateway's end is a gateway.outbox.Writer.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

from gateway.connection import Connection
from gateway.outbox import ROOM
from tests.simulation.loop import Lane, SimLoop

if TYPE_CHECKING:
    from gateway.dialect import Dialect
    from tests.simulation.gateway import GatewayProcess

ABORT_AFTER = 1.0  # seconds that the gateway waits for the end of a connection which it has closed
ABNORMAL = 1006  # the code for a connection that ended without one


class Reader(Protocol):
    """Whoever holds the person's end. `lane`: where it runs."""

    lane: Lane

    def on_open(self, socket: "Socket") -> None:
        """The handshake is done."""
        ...

    def on_frame(self, socket: "Socket", payload: bytes) -> None:
        """A text frame."""
        ...

    def on_end(self, socket: "Socket", code: int) -> None:
        """Nothing more comes."""
        ...


class Socket:
    """Made by the person's end; `dialect` is what it asked for."""

    def __init__(
        self, gateway: "GatewayProcess", reader: Reader, dialect: "Dialect", delay: Callable[[], float], chance: Random
    ) -> None:
        self.gateway = gateway
        self.stuck = False
        self.open = True  # at the person's end
        self.gone = False  # at the gateway's
        self._reader = reader
        self._dialect = dialect
        self._delay = delay
        self._chance = chance
        self._loop: SimLoop = gateway.loop
        self._connection: Connection | None = None
        self._held: list[bytes] = []  # while the person does not read
        self._unsent = 0
        self._closed = False
        self._broken = False
        self._in_at = self._out_at = 0.0
        self._toward_gateway(self._accept)

    # --- the person's end --------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Send a text frame."""
        if self.open:
            self._toward_gateway(self._hear, text)

    def leave(self) -> None:
        """Close the connection; what was sent before still arrives."""
        if self.open:
            self.open = False
            self._toward_gateway(self._go)

    def stop_reading(self) -> None:
        """From now on, and with more unsent than the gateway likes."""
        self.stuck, self._unsent = True, ROOM + 1

    def read_on(self) -> None:
        """Take what has gathered."""
        if self.stuck:
            self.stuck, self._unsent = False, 0
            held, self._held = self._held, []
            for payload in held:
                self._toward_reader(self._read, payload)
            self._toward_gateway(self._drained)

    # --- in between --------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Broken: each end hears of it in its own time, the gateway perhaps only when nobody answers its pings."""
        self._broken = True
        loop = self._loop
        loop.post(self._reader.lane, loop.now + self._delay(), self._end, ABNORMAL)
        late = self._chance.uniform(1.0, 10.0) if self._chance.random() < 0.3 else self._delay()
        loop.post(self.gateway.process.main, loop.now + late, self._go)

    def _toward_gateway(self, arrive: Callable[..., None], *args: object) -> None:
        self._in_at = max(self._in_at, self._loop.now + self._delay())
        self._loop.post(self.gateway.process.main, self._in_at, arrive, *args)

    def _toward_reader(self, arrive: Callable[..., None], *args: object) -> None:
        self._out_at = max(self._out_at, self._loop.now + self._delay())
        self._loop.post(self._reader.lane, self._out_at, arrive, *args)

    def _opened(self) -> None:
        if self.open:
            self._reader.on_open(self)

    def _read(self, payload: bytes) -> None:
        if self.open:
            self._reader.on_frame(self, payload)

    def _end(self, code: int) -> None:
        if self.open:
            self.open = False
            self._reader.on_end(self, code)

    # --- the gateway's end -------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        if self._broken:
            return
        if self.gateway.refuses:
            self._toward_reader(self._end, ABNORMAL)
            return
        self._connection = Connection(self.gateway.hub, self._dialect, self)
        self.gateway.sockets.append(self)
        self._toward_reader(self._opened)

    def _hear(self, text: str) -> None:
        if self._connection is not None and not self.gone:
            self._connection.on_text(text)

    def _drained(self) -> None:
        if self._connection is not None and not self.gone and self._unsent == 0:
            self._connection.on_drained()

    def _go(self) -> None:
        if self._connection is not None and not self.gone:
            self.gone = True
            self.gateway.sockets.remove(self)
            self._connection.on_gone()

    def send(self, payloads: list[bytes]) -> None:
        """See Writer."""
        if self._closed or self.gone or not self.gateway.process.alive:
            return
        if self.stuck:
            self._held += payloads
            self._unsent += sum(map(len, payloads))
        else:
            for payload in payloads:
                self._toward_reader(self._read, payload)

    @property
    def full(self) -> bool:
        """See Writer."""
        return self._unsent > ROOM

    def close(self, code: int, reason: str) -> None:
        """See Writer. A person who does not read finds a part of what was sent, and then the end."""
        if self._closed or self.gone:
            return
        self._closed = True
        for payload in self._held[: self._chance.randint(0, len(self._held))]:
            self._toward_reader(self._read, payload)
        self._toward_reader(self._end, code)
        self._loop.post(self.gateway.process.main, self._loop.now + self._chance.uniform(0.0, ABORT_AFTER), self._go)

    def abort(self) -> None:
        """The gateway has waited long enough."""
        self._toward_reader(self._end, ABNORMAL)
        self._go()
