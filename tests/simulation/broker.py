"""The broker's process around the real BrokerState: what shared/brokers/manager/server.py does with threads."""

from collections import deque
from collections.abc import Callable
from typing import Any

from shared.brokers.manager import calls
from shared.brokers.manager.server import DRAIN_WAIT
from shared.brokers.state import BrokerState, Limits
from shared.clock import Clock
from shared.messages import Batch, Polled
from tests.simulation.loop import Lane, Process, SimLoop


class BrokerProcess:
    """One life of the broker: it begins with an empty memory."""

    def __init__(self, loop: SimLoop, name: str, clock: Clock, limits: Limits, note: Callable[[str], None]) -> None:
        self.loop = loop
        self._note = note  # counts what happens
        self.process = Process(loop, name)
        self.limits = limits
        self.state = BrokerState(clock, limits)
        self.waiting: dict[str, Waiting] = {}
        self.process.run(self._tick)

    def admit(self, name: str) -> "Peer":
        """A thread for a new connection."""
        return Peer(self, self.process.lane(f"{self.process.name} for {name}"))

    def call(self, data: bytes) -> bytes:
        """See Service."""
        batch = calls.decode_calls(data)
        answers = calls.perform(self.state, batch)
        for (method, _), (fine, result) in zip(batch, answers, strict=True):
            if method == "append" and fine:
                for refusal in result:
                    self._note(f"append {refusal.reason}")
        self.nudge()
        return calls.encode(answers)

    def nudge(self) -> None:
        """Threads that wait wake up in their own time: another call may be served before."""
        for name in sorted(self.state.take_wake()):
            waiting = self.waiting.get(name)
            if waiting is not None:
                self.loop.post(waiting.lane, self.loop.now, waiting.look)

    def _tick(self) -> None:
        self.state.tick()
        self.nudge()
        self.loop.call_later(self.limits.tick if self.state.active else self.limits.idle_tick, self._tick)


class Waiting:
    """A drain or a poll that waits for news."""

    def __init__(
        self,
        broker: BrokerProcess,
        name: str,
        collect: Callable[[bool], Batch | Polled | None],
        seconds: float,
        answer: Callable[[bytes], None],
    ) -> None:
        self.lane = broker.loop.current
        self._broker = broker
        self._name = name
        self._collect = collect
        self._answer = answer
        self._deadline = broker.loop.now + seconds
        self._over = False
        broker.waiting[name] = self
        self._timer = broker.loop.call_at(self._deadline, self.look)
        self.look()

    def look(self) -> None:
        """Is there anything to tell, or has it waited long enough?"""
        if self._over:
            return
        found = self._collect(self._broker.loop.now >= self._deadline)
        if found is None:
            return
        self._over = True
        self._timer.cancel()
        if self._broker.waiting.get(self._name) is self:
            del self._broker.waiting[self._name]
        self._answer(calls.encode(found))


class Peer:
    """The broker's end of a connection: a thread that serves one request after the other."""

    def __init__(self, broker: BrokerProcess, lane: Lane) -> None:
        self.lane = lane
        self.reply: Callable[[bytes], None] = lambda answer: None
        self._broker = broker
        self._requests: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._busy = False
        self._ended = False

    def receive(self, method: str, args: tuple[Any, ...]) -> None:
        """A request has arrived."""
        if not self._ended:
            self._requests.append((method, args))
            self._serve()

    def end(self) -> None:
        """The connection is gone; a request that waits is not interrupted by that."""
        self._ended = True
        self._requests.clear()
        self.reply = lambda answer: None

    def _serve(self) -> None:
        while self._requests and not self._busy:
            method, args = self._requests.popleft()
            self._busy = True
            getattr(self, "_" + method)(*args)

    def _done(self, answer: bytes) -> None:
        self._busy = False
        self.reply(answer)
        self._serve()

    def _call(self, data: bytes) -> None:
        self._done(self._broker.call(data))

    def _drain(self, gateway: str, link: int) -> None:
        state = self._broker.state
        number = state.drain(gateway, link)
        Waiting(self._broker, gateway, lambda last: state.batch(gateway, number, final=last), DRAIN_WAIT, self._done)

    def _poll(self, data: bytes) -> None:
        broker, state = self._broker, self._broker.state
        worker, seen, held, free_slots, alone = calls.decode_poll(data)
        number = state.poll(worker, seen, held, free_slots, alone)
        broker.nudge()
        wait = broker.limits.lease / 3
        Waiting(broker, worker, lambda last: state.polled(worker, number, final=last), wait, self._done)

    def _goodbye(self, connection: str) -> None:
        self._done(b"")
