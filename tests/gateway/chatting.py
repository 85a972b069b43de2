"""Chats without sockets, processes or waiting: gateways, a worker and clients around one in-process broker.

Nothing moves by itself but the event loop's own callbacks: batches are pulled, time is advanced, and any answer of the
broker can be held back, so that every order of things can be forced.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.caller import NOBODY, Caller
from gateway.connection import Connection
from gateway.dialect import Dialect
from gateway.hub import Hub
from gateway.outbox import ROOM
from gateway.patience import Patience
from gateway.plain import PlainDialect
from gateway.protocol import JsonDialect
from gateway.submitting import Keeping
from shared.brokers.memory import MemoryBroker
from shared.brokers.state import BrokerState, Limits
from shared.errors import BrokerUnavailable, ChatError
from shared.messages import Batch, Item
from shared.store import Store
from shared.window import Window
from tests.conftest import FakeClock
from tests.gateway.writing import Run, Worker

Frame = dict[str, Any]
NAMES = ("one", "other")  # of the gateways
EVERYTHING = 1 << 30
WINDOW = Window(10_000, 1_000)


async def turns(count: int = 12) -> None:
    """Let the event loop do what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


class FakeWriter:
    """A socket. While it is `stuck` the kernel takes nothing."""

    def __init__(self) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.writes: list[list[bytes]] = []
        self.unsent = 0
        self.most_unsent = 0
        self.stuck = False
        self.closed: tuple[int, str] | None = None

    def send(self, payloads: list[bytes]) -> None:
        """See Writer."""
        if self.closed is None:
            self.writes.append(payloads)
            self.unsent += sum(map(len, payloads)) if self.stuck else 0
            self.most_unsent = max(self.unsent, self.most_unsent)

    @property
    def full(self) -> bool:
        """See Writer."""
        return self.unsent > ROOM

    def close(self, code: int, reason: str) -> None:
        """See Writer."""
        self.closed = self.closed or (code, reason)

    def fill(self) -> None:
        """A reader that has stopped reading, with more unsent than it may have."""
        self.stuck, self.unsent = True, ROOM + 1

    def drain(self) -> None:
        """It reads again."""
        blocked, self.stuck, self.unsent = self.unsent > 0, False, 0
        if blocked and self.on_drained is not None:
            self.on_drained()


class Client:
    """A client and its connection. `position`: the cursor of the last event it has."""

    def __init__(self, hub: Hub, dialect: Dialect, caller: Caller = NOBODY) -> None:
        self.writer = FakeWriter()
        self.connection = Connection(hub, dialect, self.writer, caller)
        self.writer.on_drained = self.connection.on_drained
        self._parsed: list[Frame] = []
        self._writes = 0  # how many of them are parsed
        self._read = 0

    @property
    def texts(self) -> list[str]:
        """All text frames so far."""
        return [payload.decode() for write in self.writer.writes for payload in write]

    @property
    def frames(self) -> list[Frame]:
        """All frames so far, of the JSON dialect."""
        writes = self.writer.writes[self._writes :]
        self._writes += len(writes)
        self._parsed += [json.loads(payload) for write in writes for payload in write]
        return list(self._parsed)

    def new(self) -> list[Frame]:
        """The frames since the last call."""
        frames = self.frames
        new, self._read = frames[self._read :], len(frames)
        return new

    def types(self) -> list[str]:
        """What the new frames are."""
        return [frame["type"] for frame in self.new()]

    def contents(self) -> list[str]:
        """The new frames without their details: the type and the id or the code."""
        return [f"{frame['type']} {frame.get('id') or frame.get('code') or ''}".strip() for frame in self.new()]

    @property
    def events(self) -> list[Frame]:
        """Those frames that have a cursor."""
        return [frame for frame in self.frames if "cursor" in frame]

    @property
    def session(self) -> str:
        """The id of its session."""
        return next(str(frame["session_id"]) for frame in self.frames if frame["type"] == "session")

    def text(self, id: str) -> str:
        """The reply as it holds it."""
        return "".join(frame["text"] for frame in self.frames if frame["type"] == "delta" and frame["id"] == id)

    def type_in(self, text: str) -> None:
        """Send a text frame."""
        self.connection.on_text(text)

    def send(self, type: str, **fields: Any) -> None:
        """Send a frame of the JSON dialect."""
        self.type_in(json.dumps({"type": type} | fields))

    def ask(self, id: str, content: str = "Hello") -> None:
        """Send a message."""
        self.send("message", id=id, content=content)

    def go(self) -> None:
        """The connection ends."""
        self.connection.on_gone()


class HeldBroker:
    """The gateway side of a broker whose answers can be held back and whose calls can fail.

    A held call is done at once, only its answer waits for `release`. A failing one is not done.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._holding: set[str] = set()
        self._failing: dict[str, ChatError] = {}
        self._held: list[tuple[asyncio.Future[Any], asyncio.Future[Any], Callable[[], asyncio.Future[Any]]]] = []
        self.calls: list[str] = []

    def __getattr__(self, method: str) -> Any:
        function = getattr(self._inner, method)
        return function if method in ("drain", "close") else lambda *args: self._call(method, function, args)

    def hold(self, *methods: str) -> None:
        """From now on these get no answer."""
        self._holding.update(methods)

    def fail(self, *methods: str, error: ChatError | None = None) -> None:
        """From now on these fail."""
        self._failing.update(dict.fromkeys(methods, error or BrokerUnavailable()))

    def heal(self) -> None:
        """Nothing fails or is held back any more."""
        self._failing.clear()
        self.release()

    def release(self) -> None:
        """Give the answers that were held back, in order."""
        self._holding.clear()
        held, self._held = self._held, []
        for answer, shown, _ in held:
            if answer.exception() is None:
                shown.set_result(answer.result())
            else:
                shown.set_exception(answer.exception())  # type: ignore[arg-type]
                shown.exception()

    def repeat(self) -> None:
        """What is held back is done once more, in order: by a link that was lost with the answers."""
        self._held = [(again(), shown, again) for _, shown, again in self._held]

    def break_off(self, error: ChatError | None = None) -> None:
        """The answers that were held back never come, or are this error: that of the broker that was asked again."""
        self._holding.clear()
        held, self._held = self._held, []
        for _, shown, _ in held:
            shown.set_exception(error or BrokerUnavailable())
            shown.exception()

    def _call(self, method: str, function: Callable[..., "asyncio.Future[Any]"], args: tuple[Any, ...]) -> Any:
        self.calls.append(method)
        shown: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if method in self._failing:
            shown.set_exception(self._failing[method])
            shown.exception()
            return shown
        answer = function(*args)
        if not (self._held or method in self._holding):
            return answer
        self._held.append((answer, shown, lambda: function(*args)))  # answers never overtake each other
        return shown


class Gateway:
    """A gateway process's hub."""

    def __init__(
        self, memory: MemoryBroker, name: str, clock: FakeClock, patience: Patience, store: Store | None, window: Window
    ) -> None:
        self.name = name
        self._memory = memory
        self.broker = HeldBroker(memory.gateway(name))
        keeping = None if store is None else Keeping(store, self.broker, clock, window)
        self.hub = Hub(self.broker, clock, patience, keeping)
        self.pull()  # the first batch of a link always says that it has lost all

    def batch(self) -> Batch:
        """What a drain brings now."""
        number = self._memory.call("drain", self.name, 1)
        batch = self._memory.state.batch(self.name, number, final=True)
        assert batch is not None
        return batch

    def pull(self) -> None:
        """Drain once."""
        self.hub.deliver(self.batch())

    def lose(self) -> None:
        """What was not drained is gone, and so are the subscriptions; the next batch says so."""
        self._memory.call("leave_gateway", self.name)

    def client(self) -> Client:
        """A new connection that speaks JSON."""
        return Client(self.hub, JsonDialect())

    def plain(self) -> Client:
        """A new connection that speaks plain text."""
        return Client(self.hub, PlainDialect())

    def resume(self, session: str, after: str | None = None) -> Client:
        """A new connection on a session that exists."""
        client = self.client()
        client.send("resume", session_id=session, **({} if after is None else {"after": after}))
        return client


class Chats:
    """The whole."""

    def __init__(
        self, clock: FakeClock, limits: Limits, patience: Patience, store: Store | None, window: Window
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.memory = MemoryBroker(clock, limits)
        self.one, self.other = self.gateways = [
            Gateway(self.memory, name, clock, patience, store, window) for name in NAMES
        ]
        self.worker = Worker(self.memory)

    async def settle(self) -> None:
        """Bring everything that is under way to where it belongs."""
        for _ in range(3):
            await turns()
            for gateway in self.gateways:
                gateway.pull()
        await turns()

    async def pass_time(self, seconds: float) -> None:
        """Let it pass, in steps of the hub's own clockwork at most. All are well: gateways drain, the worker renews."""
        while seconds > 0:
            self.clock.advance(min(seconds, 1.0))
            seconds -= 1.0
            self.worker.renew()
            for gateway in self.gateways:
                gateway.pull()
            await turns(4)

    def stored(self, session: str) -> list[Item]:
        """What the broker keeps of it."""
        return list(self.memory.state.read(session, None, EVERYTHING).items)

    def lose_memory(self) -> None:
        """The broker dies and another takes its place: a new epoch, knowing nothing."""
        self.memory.state = BrokerState(self.clock, self.limits)
        for gateway in self.gateways:
            gateway.broker.break_off()
        self.worker = Worker(self.memory)

    async def chat(self, id: str = "m1", *texts: str) -> tuple[Client, Run]:
        """A client on the first gateway and the run that answers its message, which has said `texts`."""
        client = self.one.client()
        client.ask(id)
        await self.settle()
        run = self.worker.take_one()
        if texts:
            run.say(*texts)
        await self.settle()
        return client, run

    def check_nothing_left(self) -> None:
        """G11: no hub knows a session or a connection, the broker no subscription."""
        for gateway in self.gateways:
            assert (len(gateway.hub), gateway.hub._sessions, gateway.hub._touched) == (0, {}, [])
            assert not gateway.hub._watched
        subscribers = self.memory.state._subscribers.values()
        assert not any(subscriber.sessions for subscriber in subscribers)

    async def close(self) -> None:
        """Stop the clockwork."""
        for gateway in self.gateways:
            await gateway.hub.close()
        self.memory.close()


@asynccontextmanager
async def chatting(
    clock: FakeClock | None = None,
    limits: Limits | None = None,
    patience: Patience | None = None,
    store: Store | None = None,
    window: Window = WINDOW,
) -> AsyncIterator[Chats]:
    """All timers of the event loop follow the clock, which only moves when it is told to."""
    clock = clock or FakeClock()
    loop = asyncio.get_running_loop()
    loop.time = clock.now  # type: ignore[method-assign]
    chats = Chats(clock, limits or Limits(), patience or Patience(), store, window)
    try:
        yield chats
    finally:
        await chats.close()
        del loop.time
