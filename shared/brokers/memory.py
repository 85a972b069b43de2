"""The broker within one process: a real one, over the same state machine as the others.

For tests, and for a gateway and a worker that share an event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shared.brokers.sides import GatewaySide, WorkerSide
from shared.brokers.state import BrokerState, Limits
from shared.clock import Clock
from shared.errors import ChatError
from shared.messages import Batch, Polled

T = TypeVar("T")
DRAIN_WAIT = 2.0  # seconds that a drain waits at most


class MemoryBroker:
    """One memory for any number of gateways and workers of this event loop."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self.state = BrokerState(clock, limits)
        self._limits = limits
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tick()

    def gateway(self, name: str) -> GatewaySide:
        """What a gateway of that name talks to."""
        return GatewaySide(MemoryLink(self, self._limits), name)

    def worker(self, name: str) -> WorkerSide:
        """What a worker of that name talks to."""
        return WorkerSide(MemoryLink(self, self._limits), name)

    def close(self) -> None:
        """Stop the clockwork."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def call(self, method: str, *args: Any) -> Any:
        """One transition, and a nudge to whom it concerns."""
        try:
            return getattr(self.state, method)(*args)
        finally:
            self._nudge()

    async def wait(self, name: str, collect: Callable[[bool], T | None], seconds: float) -> T:
        """Until `collect` has something; after `seconds` it is asked for what there is."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (result := collect(loop.time() >= deadline)) is None:
            woken = self._waiting[name] = loop.create_future()
            timer = loop.call_at(deadline, _wake, woken)
            try:
                await woken
            finally:
                timer.cancel()
        return result

    def _tick(self) -> None:
        self.state.tick()
        self._nudge()
        delay = self._limits.tick if self.state.active else self._limits.idle_tick
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _nudge(self) -> None:
        for name in self.state.take_wake():
            waiting = self._waiting.pop(name, None)
            if waiting is not None:
                _wake(waiting)


class MemoryLink:
    """Carries calls by calling."""

    def __init__(self, broker: MemoryBroker, limits: Limits) -> None:
        self._broker = broker
        self._limits = limits

    def call(self, method: str, *args: Any) -> asyncio.Future[Any]:
        """See shared.brokers.sides.Link."""
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._broker.call(method, *args))
        except ChatError as error:
            future.set_exception(error)
            future.exception()  # whoever needs no answer need not look at it
        return future

    async def drain(self, gateway: str) -> Batch:
        """See shared.brokers.sides.Link."""
        number = self._broker.call("drain", gateway, 1)
        state = self._broker.state
        return await self._broker.wait(gateway, lambda last: state.batch(gateway, number, final=last), DRAIN_WAIT)

    async def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> Polled:
        """See shared.brokers.sides.Link."""
        number = self._broker.call("poll", worker, seen, held, free_slots, alone)
        state, wait = self._broker.state, self._limits.lease / 3
        return await self._broker.wait(worker, lambda last: state.polled(worker, number, final=last), wait)

    async def close(self, goodbye: str, name: str) -> None:
        """See shared.brokers.sides.Link."""
        self._broker.call(goodbye, name)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
