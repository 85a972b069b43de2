"""An event loop with a time of its own, shared by processes that can die, stop and go on.

Nothing waits: when nobody has anything to do, time jumps to the next timer. Callbacks of one lane (a thread that runs
an event loop, or blocks) keep their order, as they would for real; which lane goes next is the seed's choice.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from random import Random
from typing import Any, TypeVar, TypeVarTuple
from zlib import crc32

from tests.simulation.violation import Violation

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_CALLBACKS = 400_000  # in one run; one that needs more goes round in circles
LAST_TURNS = 50  # in which what a dead process leaves is cleared away


class Lane:
    """Callbacks that run one after the other. `late`: timers that came due while the process was stopped."""

    __slots__ = ("late", "listed", "name", "number", "process", "ready")

    def __init__(self, process: "Process", name: str, number: int) -> None:
        self.process = process
        self.name = name
        self.number = number
        self.ready: deque[asyncio.Handle] = deque()
        self.late: list[asyncio.Handle] = []
        self.listed = False  # among the lanes of which one is picked


class Process:
    """What dies or stops as one."""

    def __init__(self, loop: "SimLoop", name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.frozen = False
        self.lanes: list[Lane] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.strike: tuple[int, Callable[[], None]] | None = None  # callbacks from now, and what happens then
        self.main = self.lane(name)

    def lane(self, name: str) -> Lane:
        """One more thread of it."""
        lane = Lane(self, name, self.loop.next_number())
        self.lanes.append(lane)
        return lane

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call as the process itself would, now."""
        return self.loop.within(self.main, function, *args)

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task of the process."""
        return self.run(self.loop.create_task, coroutine)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True
        for lane in self.lanes:
            self.loop.unlist(lane)

    def thaw(self) -> None:
        """SIGCONT: an event loop hears first what has arrived, then its timers."""
        self.frozen = False
        for lane in self.lanes:
            lane.ready.extend(lane.late)
            lane.late.clear()
            self.loop.enlist(lane)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more. Its coroutines are closed where nobody can see them."""
        if self.alive:
            self.alive = False
            self.thaw()
            self.loop.bury(self)

    def strike_after(self, callbacks: int, what: Callable[[], None]) -> None:
        """Let something happen to it between two of its callbacks."""
        self.strike = (callbacks, what)


class SimLoop(asyncio.BaseEventLoop):
    """`time` is simulated, `trace` fingerprints every callback so far, `failures` holds what went wrong."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.now = 1000.0
        self.callbacks = 0
        self.trace = 0
        self.say: Callable[[str], None] | None = None  # takes a line per callback, where somebody wants to read them
        self.failures: list[str] = []
        self.over = False
        self._chance = chance
        self._timers: list[tuple[float, int, Lane, asyncio.Handle, bool]] = []  # the last: a timer, not a message
        self._lanes: list[Lane] = []
        self._numbers = 0
        self.outside = Process(self, "outside")  # the faults, and whoever looks on
        self.current = self.outside.main

    def next_number(self) -> int:
        """Numbers in the order of their makers' wishes."""
        self._numbers += 1
        return self._numbers

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        """Simulated seconds."""
        return self.now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """On the lane that asks."""
        handle = asyncio.Handle(callback, args, self, context)
        self._put(self.current, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """On the lane that asks."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """On the lane that asks."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self.next_number(), self.current, timer, True))
        return timer

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        """Remembered with its process."""
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)
        process = self.current.process
        if len(process.tasks) > 30:
            process.tasks = [one for one in process.tasks if not one.done()]
        process.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody caught is a finding."""
        error = context.get("exception")
        if self.current.process.alive:
            self.fail(str(error) if isinstance(error, Violation) else f"crash: {context['message']}: {error!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    # --- lanes -------------------------------------------------------------------------------------------------------

    def post(self, lane: Lane, when: float, callback: Callable[..., object], *args: Any) -> None:
        """A message to somebody else: it arrives at `when`."""
        handle = asyncio.Handle(callback, args, self, None)
        heapq.heappush(self._timers, (when, self.next_number(), lane, handle, False))

    def within(self, lane: Lane, function: Callable[..., T], *args: Any) -> T:
        """Call now, as `lane`."""
        before, self.current = self.current, lane
        try:
            return function(*args)
        finally:
            self.current = before

    def _put(self, lane: Lane, handle: asyncio.Handle) -> None:
        lane.ready.append(handle)
        if not lane.listed:
            self.enlist(lane)

    def enlist(self, lane: Lane) -> None:
        """It may be picked, if it has something to do."""
        process = lane.process
        if lane.ready and not lane.listed and process.alive and not process.frozen:
            lane.listed = True
            self._lanes.append(lane)

    def unlist(self, lane: Lane) -> None:
        """It is not picked."""
        if lane.listed:
            lane.listed = False
            self._lanes.remove(lane)

    def bury(self, process: Process) -> None:
        """Let its coroutines end now: the garbage collector would do it at a time that no seed decides."""
        for _ in range(LAST_TURNS):
            tasks = [task for task in process.tasks if not task.done()]
            if not tasks:
                break
            for task in tasks:
                self.within(process.main, task.cancel)
            for lane in process.lanes:
                self._clear(lane)
        for lane in process.lanes:
            self.unlist(lane)
            lane.ready.clear()
            lane.late.clear()
        process.tasks.clear()

    def _clear(self, lane: Lane) -> None:
        for _ in range(LAST_TURNS):
            if not lane.ready:
                return
            handle = lane.ready.popleft()
            if not handle._cancelled:
                self.within(lane, handle._run)

    # --- running -----------------------------------------------------------------------------------------------------

    def fail(self, what: str) -> None:
        """Note a finding; the run is over."""
        self.failures.append(what)
        self.over = True

    @contextmanager
    def running(self) -> Iterator[None]:
        """For whoever asks asyncio for the running loop; closed at the end."""
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(None)
            self.close()

    def play(self) -> None:
        """Run until `over` is set."""
        while not self.over:
            self._step()

    def _step(self) -> None:
        if self._timers:
            self._ring()
        lanes = self._lanes
        if not lanes:
            if not self._timers:
                self.fail("hang: nothing is left that could ever happen")
            return
        place = int(self._chance.random() * len(lanes)) if len(lanes) > 1 else 0
        lane = lanes[place]
        handle = lane.ready.popleft()
        if not lane.ready:
            lane.listed = False
            lanes[place] = lanes[-1]
            lanes.pop()
        if not handle._cancelled:
            self._run(lane, handle)

    def _ring(self) -> None:
        """Hand over what is due; where nobody has anything to do, let time pass until something is."""
        timers = self._timers
        while timers and (timers[0][0] <= self.now or not self._lanes):
            when, _, lane, handle, is_timer = heapq.heappop(timers)
            if handle._cancelled or not lane.process.alive:
                continue
            self.now = max(self.now, when)
            if is_timer and lane.process.frozen:
                lane.late.append(handle)
            else:
                self._put(lane, handle)

    def _run(self, lane: Lane, handle: asyncio.Handle) -> None:
        self.callbacks += 1
        if self.callbacks > MOST_CALLBACKS:
            self.fail("livelock: it goes round in circles")
        self.trace = (self.trace * 1_000_003 + lane.number * 31 + int(self.now * 1e9)) & 0xFFFF_FFFF_FFFF_FFFF
        if self.say is not None:
            self.say(f"{lane.name}: {_name(handle)}")
        self.current = lane
        handle._run()
        self.current = self.outside.main
        process = lane.process
        if process.strike is not None:
            left, what = process.strike
            process.strike = (left - 1, what) if left else None
            if not left and process.alive:
                what()

    def mark(self, payload: bytes) -> None:
        """Take what somebody saw into the fingerprint."""
        self.trace = (self.trace * 31 + crc32(payload)) & 0xFFFF_FFFF_FFFF_FFFF

    def pending(self, process: Process) -> list[str]:
        """Its timers and tasks that are still to come."""
        timers = [
            f"timer {_name(handle)}"
            for _, _, lane, handle, is_timer in self._timers
            if is_timer and lane.process is process and not handle._cancelled
        ]
        return timers + [f"task {task.get_coro()!r}" for task in process.tasks if not task.done()]


def _name(handle: asyncio.Handle) -> str:
    callback: Any = getattr(handle, "_callback", None)
    while hasattr(callback, "func"):
        callback = callback.func
    return getattr(callback, "__qualname__", type(callback).__name__)
