"""A peer's link to the server: calls, long polls, the clockwork, and coming back by itself.

Every call may be repeated without harm, so one whose answer was lost is sent again over the next link; a call that has
no answer after PATIENCE fails with BrokerUnavailable. A long poll asks once; where there is nothing yet it waits for a
word on the peer's own channel, which is said once until it has asked again.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import hiredis
import msgspec
import structlog

from shared.answer import Answer
from shared.brokers.redis import calls, trouble
from shared.brokers.redis.address import Address
from shared.brokers.redis.door import Pair, enter
from shared.brokers.redis.mending import mend
from shared.brokers.redis.scripts import scripts
from shared.brokers.redis.wire import Wire
from shared.brokers.state import Limits
from shared.errors import BrokerUnavailable, ChatError
from shared.messages import Batch, Polled

T = TypeVar("T")
PATIENCE = 5.0  # seconds that a call may wait for its answer
SPACING = 0.01  # seconds between two appends of a worker; each costs the server, and every gateway, a round trip
STALLED = 10.0  # seconds after which a server that answers nothing is given up
DRAIN_WAIT = 2.0  # seconds that a drain waits at most
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5  # seconds between attempts to link
SHORT_LIVED = 1.0  # seconds: a link that ends sooner is not tried again at once
NAMES = {"bury": ("leave", True), "leave_worker": ("leave", False)}  # methods that share a script
log = structlog.get_logger("broker link")


class Call(NamedTuple):
    """One call under way. `lasting`: it goes over the next link, too."""

    method: str
    args: tuple[Any, ...]
    answer: Answer[Any]
    lasting: bool


class RedisLink:
    """See shared.brokers.sides.Link. Made within a running loop."""

    spacing = SPACING

    def __init__(self, address: Address, limits: Limits, name: str) -> None:
        self._address = address
        self._limits = limits
        self._name = name
        self._scripts = scripts(limits)
        self._loop = asyncio.get_running_loop()
        self._pair: Pair | None = None
        self._waiting: deque[Call] = deque()  # to be sent
        self._sent: deque[Call] = deque()
        self._flushing = False
        self._linked = asyncio.Event()
        self._linked_at = float("-inf")
        self._number = 0  # of the link; every new one is a new number to the broker
        self._drained = (0, 0)  # the link over which a drain was begun, and that drain's number
        self._woken = False
        self._wake: asyncio.Future[None] | None = None  # a long poll that waits for a word
        self._task: asyncio.Task[None] | None = None
        self._mending: set[asyncio.Task[bool]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._closing = False
        self._active = False  # something waits or runs
        self.trouble = ""

    # --- linking -----------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Link now. Raises trouble.Trouble."""
        pair = await enter(self._address, self._name, self._scripts, self._on_lost, self._on_push)
        if not (pair.calls.open and pair.wakes.open):  # lost meanwhile, when it was none of `_on_lost`'s business yet
            pair.abort()
            raise trouble.of_exception(self._address, ConnectionResetError())
        self._pair = pair
        self._number += 1
        self._linked_at = self._heard_at = self._loop.time()
        self.trouble = ""
        self._linked.set()
        self._flush()
        self._tick()

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
                await self.connect()
                break
            except trouble.Trouble as found:
                self._say(str(found))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)
        log.info("linked to the broker", server=self._address.shown)

    def _say(self, sentence: str) -> None:
        """Once, not at every attempt."""
        if sentence != self.trouble:
            log.warning(sentence)
        self.trouble = sentence

    def _on_lost(self, wire: Wire) -> None:
        if self._pair is None or wire not in self._pair:
            return  # of a link that was given up already, or is not there yet
        self._lose(str(trouble.of_exception(self._address, ConnectionResetError())))

    def _lose(self, sentence: str) -> None:
        """Both wires end together; what was sent goes first over the next link."""
        pair, self._pair = self._pair, None
        if pair is None:
            return
        if not self._closing:
            self._say(sentence)
        self._linked.clear()
        under_way = (*self._sent, *self._waiting)
        self._sent.clear()
        self._waiting = deque(call for call in under_way if call.lasting)
        for call in under_way:
            if not call.lasting:
                self._settle(call, ConnectionResetError())
        if self._ticker is not None:
            self._ticker.cancel()
        self._rouse()
        pair.abort()
        if not self._closing:
            self.start()

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
        for mending in tuple(self._mending):
            mending.cancel()
        for timer in (self._watch, self._ticker):
            if timer is not None:
                timer.cancel()
        pair = self._pair
        self._lose("")
        self._fail(list(self._waiting))
        self._waiting.clear()
        if pair is not None:
            await asyncio.wait([pair.calls.ended, pair.wakes.ended], timeout=0.5)

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, method: str, *args: Any) -> Answer[Any]:
        """See shared.brokers.sides.Link."""
        if method == "stats" and self.trouble:  # nobody is served by waiting for figures
            return self._failed(BrokerUnavailable())
        if method in NAMES:
            method, *rest = NAMES[method]
            args = (*args, *rest)
        return self._call(method, args, lasting=True)

    def _call(self, method: str, args: tuple[Any, ...], *, lasting: bool) -> Answer[Any]:
        loop = self._loop
        answer: Answer[Any] = Answer(loop.time(), loop)
        self._waiting.append(Call(method, args, answer, lasting))
        if self._watch is None:
            self._watch = loop.call_later(PATIENCE / 10, self._check_patience)
        if not self._flushing and self._pair is not None:
            self._flushing = True
            loop.call_soon(self._flush)
        return answer

    def _failed(self, error: Exception) -> Answer[Any]:
        answer: Answer[Any] = Answer(self._loop.time(), self._loop)
        answer.bring_error(error)
        return answer

    def _flush(self) -> None:
        """Send what waits, in one write."""
        self._flushing = False
        if self._pair is None or not self._waiting:
            return
        waiting, self._waiting = self._waiting, deque()
        if not self._sent:
            self._heard_at = self._loop.time()
        self._sent.extend(waiting)
        self._pair.calls.send(
            [(calls.command(self._scripts[call.method], call.method, call.args), self._answered) for call in waiting]
        )

    def _answered(self, answer: Any) -> None:
        """Of the first that was sent. What comes of a link that was given up is nobody's."""
        if not self._sent:
            return
        self._heard_at = self._loop.time()
        if isinstance(answer, hiredis.ReplyError) and self._lost_by(str(answer)):
            return
        call = self._sent.popleft()
        try:
            if isinstance(answer, hiredis.ReplyError):
                raise self._refused(call, str(answer))
            result, owed = calls.result(call.method, answer)
        except calls.NoMemory:
            self._sent.appendleft(call)
            self._lose("the broker's memory was emptied")
        except ChatError as error:
            self._settle(call, error)
        except msgspec.DecodeError:
            self._unreadable(call)
        else:
            self._pay(call, result, owed)

    def _lost_by(self, error: str) -> bool:
        """Whether it says that this is not the server to ask, or that it must be greeted again."""
        kind = error.split(" ", 1)[0]
        if kind in ("OOM", "ERR", "WRONGTYPE", "MISCONF", "BUSY") or "OOM command" in error:
            return False
        found = trouble.of_error(self._address, error)
        self._lose(str(found) if kind != "NOSCRIPT" else "the server has lost the scripts")
        return True

    def _refused(self, call: Call, error: str) -> ChatError:
        """A call alone that failed."""
        if "OOM command" in error or error.startswith(("MISCONF", "BUSY")):
            kind = "OOM " if "OOM command" in error else ""
            self._say(str(trouble.of_error(self._address, kind + error)))
            return BrokerUnavailable()
        log.error("a script failed", method=call.method, error=error[:1000])
        return ChatError()

    def _unreadable(self, call: Call) -> None:
        """Something is stored that is none of ours, or was spoilt: it is put aside, and the call made again."""
        if call.method in ("attach", "read"):
            session = call.args[1] if call.method == "attach" else call.args[0]
            mending = self._loop.create_task(mend(self._call, session))
            self._mending.add(mending)
            mending.add_done_callback(partial(self._mended, call))
            return
        log.error("what the broker answers cannot be read", method=call.method)
        self._settle(call, ChatError())
        if call.method == "batch":  # attaching anew finds which session it is
            self._lose("what was brought could not be read")

    def _mended(self, call: Call, mending: "asyncio.Task[bool]") -> None:
        self._mending.discard(mending)
        if mending.cancelled() or mending.exception() is not None or not mending.result():
            self._settle(call, ChatError())
        else:
            self._waiting.append(call)
            self._flush()

    def _pay(self, call: Call, result: Any, owed: Sequence[calls.Owed]) -> None:
        """Make the terminals that a script could not make; then the call has its answer."""
        if not owed:
            self._settle(call, result)
            return
        left = len(owed)

        def paid(_: "asyncio.Future[Any]") -> None:
            nonlocal left
            left -= 1
            if not left:
                self._settle(call, result)

        for terminal in owed:
            self._call("finish", terminal.finish(), lasting=True).add_done_callback(paid)

    def _settle(self, call: Call, result: Any) -> None:
        try:
            if isinstance(result, Exception):
                call.answer.bring_error(result)
            else:
                call.answer.bring(result)
        except Exception as error:  # of whoever took it: the others are to have theirs
            self._loop.call_exception_handler({"message": f"{call.method}: its answer", "exception": error})

    def _check_patience(self) -> None:
        """Fail what has waited too long, and give up a server that is silent. Stopped when nothing is under way."""
        now = self._loop.time()
        limit = now - PATIENCE
        self._fail([call for call in (*self._sent, *self._waiting) if call.lasting and call.answer.made_at <= limit])
        self._waiting = deque(call for call in self._waiting if not (call.answer.settled or call.answer.done()))
        if self._sent and self._heard_at <= now - STALLED:
            self._lose(str(trouble.of_exception(self._address, TimeoutError())))
        busy = self._sent or self._waiting
        self._watch = self._loop.call_later(PATIENCE / 10, self._check_patience) if busy else None

    def _fail(self, failed: list[Call]) -> None:
        for call in failed:
            self._settle(call, BrokerUnavailable())

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
            number, batch = await self._call("drain", (gateway, link, True), lasting=False)
            self._drained = (link, number)
        else:
            number, batch = self._drained[1], None
        until = self._loop.time() + DRAIN_WAIT
        while batch is None:
            early = await self._word(until)
            self._check(link)
            batch = await self._call("batch", (gateway, number, not early), lasting=False)
        return batch  # type: ignore[no-any-return]

    async def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> Polled:
        """See shared.brokers.sides.Link."""
        return await self._until_answered(lambda: self._poll(worker, (worker, seen, held, free_slots, alone, True)))

    async def _poll(self, worker: str, args: tuple[Any, ...]) -> Polled:
        self._woken, link = False, self._number
        number, answer = await self._call("poll", args, lasting=False)
        until = self._loop.time() + self._limits.lease / 3
        while answer is None:
            early = await self._word(until)
            self._check(link)
            answer = await self._call("polled", (worker, number, not early), lasting=False)
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
        self._call("tick", (least,), lasting=False).add_done_callback(self._ticked)

    def _ticked(self, ticked: "asyncio.Future[bool | None]") -> None:
        done = None if ticked.cancelled() or ticked.exception() is not None else ticked.result()
        if done is not None:
            self.trouble = ""  # it takes writes
            self._active = done
        delay = (self._limits.tick if self._active else self._limits.idle_tick) * random.uniform(0.85, 1.0)
        if self._pair is not None and not self._closing:
            self._ticker = self._loop.call_later(delay, self._tick)
