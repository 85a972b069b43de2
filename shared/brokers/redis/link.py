"""A peer's link to the server: calls, long polls, the clockwork, and coming back by itself.

A long poll asks once; where there is nothing yet it waits for a
word on the peer's own channel, which is said once until it has asked again.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog

from shared.answer import Answer
from shared.brokers.redis import trouble
from shared.brokers.redis.address import Address, Place
from shared.brokers.redis.door import Pair, enter
from shared.brokers.redis.exchange import Exchange
from shared.brokers.redis.scripts import scripts
from shared.brokers.redis.wire import Wire
from shared.brokers.state import Limits
from shared.errors import BrokerUnavailable, ChatError
from shared.messages import Batch, Polled

T = TypeVar("T")
SPACING = 0.01  # seconds between two appends of a worker; each costs the server, and every gateway, a round trip
DRAIN_WAIT = 2.0  # seconds that a drain waits at most
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5  # seconds between attempts to link
SHORT_LIVED = 1.0  # seconds: a link that ends sooner is not tried again at once
NAMES = {"bury": ("leave", True), "leave_worker": ("leave", False)}  # methods that share a script
log = structlog.get_logger("broker link")


class RedisLink:
    """See shared.brokers.sides.Link. Made within a running loop."""

    spacing = SPACING

    def __init__(self, place: Place, limits: Limits, name: str) -> None:
        self._place = place
        self._limits = limits
        self._name = name
        self._scripts = scripts(limits)
        self._loop = asyncio.get_running_loop()
        self._pair: Pair | None = None
        self._exchange = Exchange(self._scripts, self)
        self._linked = asyncio.Event()
        self._linked_at = float("-inf")
        self._number = 0  # of the link; every new one is a new number to the broker
        self._drained = (0, 0)  # the link over which a drain was begun, and that drain's number
        self._woken = False
        self._wake: asyncio.Future[None] | None = None  # a long poll that waits for a word
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closing = False
        self._active = False  # something waits or runs
        self.trouble = ""

    # --- linking -----------------------------------------------------------------------------------------------------

    async def connect(self) -> Address:
        """Link now. Returns with which server. Raises trouble.Trouble."""
        pair = await enter(await self._place.find(), self._name, self._scripts, self._on_lost, self._on_push)
        if not (pair.calls.open and pair.wakes.open):  # lost meanwhile, when it was none of `_on_lost`'s business yet
            pair.abort()
            raise trouble.of_exception(pair.calls.address, ConnectionResetError())
        self._pair = pair
        self._number += 1
        self._linked_at = self._loop.time()
        self.trouble = ""
        self._linked.set()
        self._exchange.begin(pair.calls)
        self._tick()
        return pair.calls.address

    def start(self) -> None:
        """Link in the background, for as long as it takes."""
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._relink())

    async def _relink(self) -> None:
        pause = FIRST_PAUSE
        if self._loop.time() - self._linked_at < SHORT_LIVED:
            await asyncio.sleep(LONGEST_PAUSE)
        while True:
            try:
                server = await self.connect()
                break
            except trouble.Trouble as found:
                self.refused(str(found))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)
        log.info("linked to the broker", server=server.shown)

    def _on_lost(self, wire: Wire) -> None:
        if self._pair is None or wire not in self._pair:
            return  # of a link that was given up already, or is not there yet
        self.broken(str(trouble.of_exception(wire.address, ConnectionResetError())))

    async def close(self, goodbye: str, name: str) -> None:
        """Say goodbye if the broker is there, wait at most a second for that, and end the link."""
        self._closing = True  # a broker that goes meanwhile is not waited for
        if self._pair is not None:
            with contextlib.suppress(TimeoutError, ChatError):
                await asyncio.wait_for(self.call(goodbye, name), 1.0)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        pair = self._pair
        self.broken("")
        self._exchange.close()
        if pair is not None:
            await asyncio.wait([pair.calls.ended, pair.wakes.ended], timeout=0.5)

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, method: str, *args: Any) -> Answer[Any]:
        """See shared.brokers.sides.Link."""
        if method == "stats" and self.trouble:  # nobody is served by waiting for figures
            answer: Answer[Any] = Answer(self._loop.time(), self._loop)
            answer.bring_error(BrokerUnavailable())
            return answer
        if method in NAMES:
            method, *rest = NAMES[method]
            args = (*args, *rest)
        return self._exchange.call(method, args, lasting=True)

    def refused(self, sentence: str) -> None:
        """See exchange.Owner. Said once, not at every attempt."""
        if sentence != self.trouble:
            log.warning(sentence)
        self.trouble = sentence

    def broken(self, sentence: str) -> None:
        """See exchange.Owner. Both wires end together."""
        pair, self._pair = self._pair, None
        if pair is None:
            return
        if not self._closing:
            self.refused(sentence)
        self._linked.clear()
        self._exchange.end()
        if self._ticker is not None:
            self._ticker.cancel()
        self._rouse()
        pair.abort()
        if not self._closing:
            self.start()

    # --- long polls --------------------------------------------------------------------------------------------------

    def _on_push(self, push: Any) -> None:
        """A word on our channel."""
        self._rouse()

    def _rouse(self) -> None:
        self._woken = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _word(self, until: float) -> bool:
        """Wait for it; False where it did not come by then."""
        if not self._woken:
            self._wake = self._loop.create_future()
            timer = self._loop.call_at(until, self._rouse)
            try:
                await self._wake
            finally:
                timer.cancel()
                self._wake = None
        self._woken = False
        return self._loop.time() < until

    async def drain(self, gateway: str) -> Batch:
        """See shared.brokers.sides.Link."""
        return await self._until_answered(lambda: self._drain(gateway))

    async def _drain(self, gateway: str) -> Batch:
        """The first one over a link begins; each answer leaves the broker waiting to give us a word for the next."""
        link = self._number
        if self._drained[0] != link:
            self._woken = False
            number, batch = await self._exchange.call("drain", (gateway, link, True), lasting=False)
            self._drained = (link, number)
        else:
            number, batch = self._drained[1], None
        until = self._loop.time() + DRAIN_WAIT
        while batch is None:
            early = await self._word(until)
            self._check(link)
            batch = await self._exchange.call("batch", (gateway, number, not early), lasting=False)
        return batch  # type: ignore[no-any-return]

    async def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> Polled:
        """See shared.brokers.sides.Link."""
        return await self._until_answered(lambda: self._poll(worker, (worker, seen, held, free_slots, alone, True)))

    async def _poll(self, worker: str, args: tuple[Any, ...]) -> Polled:
        self._woken, link = False, self._number
        number, answer = await self._exchange.call("poll", args, lasting=False)
        until = self._loop.time() + self._limits.lease / 3
        while answer is None:
            early = await self._word(until)
            self._check(link)
            answer = await self._exchange.call("polled", (worker, number, not early), lasting=False)
        return answer.polled()  # type: ignore[no-any-return]

    async def _until_answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Over any number of links, and while the server takes no writes."""
        while True:
            await self._linked.wait()
            try:
                return await ask()
            except ConnectionResetError:
                continue
            except ChatError:
                await asyncio.sleep(LONGEST_PAUSE)

    def _check(self, link: int) -> None:
        """Raise ConnectionResetError where that link is not the present one."""
        if self._pair is None or link != self._number:
            raise ConnectionResetError

    # --- the clockwork -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Let the broker's time pass: whoever comes first does it, the others find it done."""
        self._ticker = None
        least = self._limits.tick * 0.7
        self._exchange.call("tick", (least,), lasting=False).add_done_callback(self._ticked)

    def _ticked(self, ticked: "asyncio.Future[bool | None]") -> None:
        done = None if ticked.cancelled() or ticked.exception() is not None else ticked.result()
        if done is not None:
            self.trouble = ""  # it takes writes
            self._active = done
        delay = (self._limits.tick if self._active else self._limits.idle_tick) * random.uniform(0.85, 1.0)
        if self._pair is not None and not self._closing:
            self._ticker = self._loop.call_later(delay, self._tick)
