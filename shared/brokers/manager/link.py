"""A peer's link to the manager broker: calls, long polls, and coming back by itself.

Two wires: one for calls, of which at most one batch is under way (so that what comes meanwhile goes together), one
for the long poll. Every call may be repeated without harm, so a batch whose answer was lost is sent again over the
next link; a call that has no answer after PATIENCE fails with BrokerUnavailable.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import AuthenticationError
from typing import Any, NamedTuple, TypeVar

import structlog

from shared.answer import Answer
from shared.brokers.manager import calls
from shared.brokers.manager.home import Home
from shared.brokers.manager.wire import Wire, open_wire
from shared.errors import BrokerUnavailable
from shared.messages import Batch, Polled

T = TypeVar("T")
PATIENCE = 5.0  # seconds that a call may wait for its answer
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5  # seconds between attempts to link
SHORT_LIVED = 1.0  # seconds: a link that ends sooner is not tried again at once
log = structlog.get_logger("broker link")


class Call(NamedTuple):
    """One call under way."""

    method: str
    args: tuple[Any, ...]
    answer: Answer[Any]


class ManagerLink:
    """See shared.brokers.sides.Link. `revive` is called where no broker listens and this peer may start one."""

    def __init__(self, home: Home, name: str, revive: Callable[[], None] | None = None) -> None:
        self._home = home
        self._name = name
        self._revive = revive
        self._loop = asyncio.get_running_loop()  # asking for it is a system call, in Python 3.11
        self._waiting: deque[Call] = deque()
        self._sent: list[Call] = []
        self._sender: Wire | None = None
        self._poller: Wire | None = None
        self._linked = asyncio.Event()
        self._linked_at = float("-inf")
        self._number = 0  # of the link; every new one is a new number to the broker
        self._awaited: set[asyncio.Future[bytes]] = set()  # answers to long polls and goodbyes
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._flushing = False
        self._closing = False

    # --- linking -----------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Link now. Raises AuthenticationError where the broker has another key, OSError and EOFError where none
        answers."""
        self._number += 1
        name = f"{self._name}/{self._number}"
        sender = await open_wire(self._home, f"{name}/calls", self._on_lost)
        try:
            poller = await open_wire(self._home, f"{name}/waits", self._on_lost)
        except BaseException:
            sender.close()
            raise
        if not (sender.open and poller.open):  # lost meanwhile, when it was none of `_on_lost`'s business yet
            sender.close()
            poller.close()
            raise ConnectionResetError
        self._sender, self._poller = sender, poller
        self._linked_at = asyncio.get_running_loop().time()
        self._linked.set()
        self._flush()

    def start(self) -> None:
        """Link in the background, for as long as it takes."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._relink())

    async def _relink(self) -> None:
        pause, said = FIRST_PAUSE, ""
        if asyncio.get_running_loop().time() - self._linked_at < SHORT_LIVED:
            await asyncio.sleep(LONGEST_PAUSE)
        while True:
            try:
                await self.connect()
                break
            except AuthenticationError:
                said = self._say("the broker at this address has another key", said)
            except (FileNotFoundError, ConnectionRefusedError):
                said = self._say("waiting for the broker", said)
                if self._revive is not None:
                    self._revive()
            except (OSError, EOFError):
                said = self._say("the broker does not answer", said)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)
        log.info("linked to the broker", directory=str(self._home.directory))

    def _say(self, sentence: str, said: str) -> str:
        """Once, not at every attempt."""
        if sentence != said:
            log.warning(sentence, directory=str(self._home.directory))
        return sentence

    def _on_lost(self, wire: Wire) -> None:
        if wire not in (self._sender, self._poller):
            return  # of a link that was given up already, or is not there yet
        log.warning("the broker is gone; linking anew", directory=str(self._home.directory))
        self._drop()
        if not self._closing:
            self.start()

    def _drop(self) -> None:
        """Both wires end together; what was sent goes first over the next link."""
        wires, self._sender, self._poller = (self._sender, self._poller), None, None
        self._linked.clear()
        self._waiting.extendleft(reversed(self._sent))
        self._sent = []
        for answer in self._awaited:
            if not answer.done():
                answer.set_exception(ConnectionResetError())
                answer.exception()
        self._awaited.clear()
        for wire in wires:
            if wire is not None:
                wire.close()

    async def close(self, goodbye: str, name: str) -> None:
        """Say goodbye if the broker is there, wait at most a second for that, and end the link."""
        self._closing = True  # a broker that goes meanwhile is not waited for
        if self._sender is not None:
            with contextlib.suppress(TimeoutError, BrokerUnavailable):
                await asyncio.wait_for(self.call(goodbye, name), 1.0)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._watch is not None:
            self._watch.cancel()
        await self._part()
        self._drop()
        self._fail(list(self._waiting))
        self._waiting.clear()
        await asyncio.sleep(0)  # in which the transports close

    async def _part(self) -> None:
        """Tell the broker that both connections end on purpose."""
        for kind in ("calls", "waits"):
            if self._sender is None:
                return
            parted = self._request(self._sender, "goodbye", (f"{self._name}/{self._number}/{kind}",))
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                await asyncio.wait_for(parted, 0.5)

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, method: str, *args: Any) -> Answer[Any]:
        """See shared.brokers.sides.Link."""
        loop = self._loop
        answer: Answer[Any] = Answer(loop.time(), loop)
        self._waiting.append(Call(method, args, answer))
        if self._watch is None:
            self._watch = loop.call_later(PATIENCE / 10, self._check_patience)
        if not self._flushing and not self._sent and self._sender is not None:
            self._flushing = True
            loop.call_soon(self._flush)
        return answer

    def _flush(self) -> None:
        """Send what waits as one batch, unless one is under way."""
        self._flushing = False
        if self._sent or self._sender is None or not self._waiting:
            return
        self._sent = list(self._waiting)
        self._waiting.clear()
        data = calls.encode_calls([(call.method, call.args) for call in self._sent])
        self._sender.request("call", (data,), self._answered)

    def _answered(self, data: bytes) -> None:
        sent, self._sent = self._sent, []
        for call, result in zip(sent, calls.decode_answers([call.method for call in sent], data), strict=True):
            self._settle(call, result)
        self._flush()

    def _settle(self, call: Call, result: Any) -> None:
        try:
            if isinstance(result, Exception):
                call.answer.bring_error(result)
            else:
                call.answer.bring(result)
        except Exception as error:  # of whoever took it: the others are to have theirs
            self._loop.call_exception_handler({"message": f"{call.method}: its answer", "exception": error})

    def _check_patience(self) -> None:
        """Fail what has waited too long. A timer of the link, stopped when nothing is under way."""
        limit = self._loop.time() - PATIENCE
        self._fail([call for call in (*self._sent, *self._waiting) if call.answer.made_at <= limit])
        self._waiting = deque(call for call in self._waiting if not (call.answer.settled or call.answer.done()))
        busy = self._sent or self._waiting
        self._watch = self._loop.call_later(PATIENCE / 10, self._check_patience) if busy else None

    def _fail(self, failed: list[Call]) -> None:
        for call in failed:
            self._settle(call, BrokerUnavailable())

    # --- long polls --------------------------------------------------------------------------------------------------

    async def drain(self, gateway: str) -> Batch:
        """See shared.brokers.sides.Link."""
        return calls.decode_batch(await self._wait("drain", lambda: (gateway, self._number)))

    async def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> Polled:
        """See shared.brokers.sides.Link."""
        data = calls.encode((worker, seen, held, free_slots, alone))
        return calls.decode_polled(await self._wait("poll", lambda: (data,)))

    async def _wait(self, method: str, args: Callable[[], tuple[Any, ...]]) -> bytes:
        """One long poll, begun anew over each link until one brings an answer."""
        while True:
            while self._poller is None:  # a link may be lost again before those who wait for it have their turn
                await self._linked.wait()
            with contextlib.suppress(ConnectionResetError):
                return await self._request(self._poller, method, args())

    def _request(self, wire: Wire, method: str, args: tuple[Any, ...]) -> "asyncio.Future[bytes]":
        """Fails with ConnectionResetError where the link is lost first."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(result: bytes) -> None:
            self._awaited.discard(answer)
            if not answer.done():
                answer.set_result(result)

        self._awaited.add(answer)
        wire.request(method, args, answered)
        return answer
