"""Somebody with wscat: plain text, no resume. Where a connection is lost, the next one is a new session."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from gateway.plain import PlainDialect
from tests.simulation.invariants import content_of
from tests.simulation.loop import Process
from tests.simulation.socket import Socket
from tests.simulation.typescript import Typescript

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_AT_ONCE = 4  # the gateway's line holds more: `busy` would be a finding


class Typist:
    """Sends a message at each of `moments`, if there is a connection by then."""

    def __init__(self, world: "World", name: str, moments: list[float], chance: Random) -> None:
        self.world = world
        self.name = name
        self.process = Process(world.loop, name)
        self.lane = self.process.main
        self.socket: Socket | None = None
        self.gone = False
        self.chance = chance
        self.script = self._new_script()
        self._opened = False
        self._count = 0
        self._moments = len(moments)
        self._later(0.0, 1.0, self._connect)
        for moment in moments:
            self._later(moment, moment, self._type)

    def _new_script(self) -> Typescript:
        return Typescript(self.name, self.world.records)

    def _later(self, least: float, most: float, what: Callable[..., None], *args: Any) -> None:
        loop = self.world.loop
        loop.post(self.lane, loop.now + self.chance.uniform(least, most), what, *args)

    @property
    def finished(self) -> bool:
        """Whether everything has been typed and answered."""
        return not self._moments and not self.script.waiting

    def waits_for(self) -> str:
        """For whoever wants to know why it has not finished."""
        return f"{self.name} waits for {self.script.waiting}"

    def _type(self) -> None:
        self._moments -= 1
        if self._opened and self.socket is not None and len(self.script.waiting) < MOST_AT_ONCE:
            content = content_of(f"{self.name}-{self._count}")
            self._count += 1
            self.script.sent(content)
            self.world.say(self.name, ">", content)
            self.socket.say(content)

    def _connect(self) -> None:
        if self.gone or self.socket is not None:
            return
        gateway = self.world.some_gateway(self.chance)
        if gateway is None:
            self._later(0.1, 0.5, self._connect)
            return
        self.socket = Socket(gateway, self, PlainDialect(), self.world.network.delay, self.chance)
        self._later(3.0, 3.0, self._give_up, self.socket)

    def _give_up(self, socket: Socket) -> None:
        """The handshake got no answer."""
        if socket is self.socket and not self._opened:
            socket.leave()
            self.on_end(socket, 0)

    def leave(self) -> None:
        """For good."""
        self.gone = True
        if self.socket is not None:
            self.socket.leave()
            self.socket = None

    def on_open(self, socket: Socket) -> None:
        """See Reader."""
        self._opened = socket is self.socket

    def on_frame(self, socket: Socket, payload: bytes) -> None:
        """See Reader."""
        if socket is self.socket:
            self.world.loop.mark(payload)
            self.world.say(self.name, "<", payload.decode())
            self.script.handle(payload.decode())

    def on_end(self, socket: Socket, code: int) -> None:
        """See Reader. What was not answered is typed again by nobody."""
        if socket is self.socket:
            self.socket, self._opened = None, False
            self.script = self._new_script()
            self._later(0.05, 1.0, self._connect)
