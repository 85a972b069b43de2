"""Child processes that are started, watched without threads, restarted when they die, and never left behind.

A child gets the read end of a pipe as its standard input. Nobody but the parent has the other end, so the child sees
the end of its input when the parent dies, however that happens (`watch_parent`). Ctrl-C is the parent's to handle: for
children SIGINT is blocked from their first moment, so that none is caught by it half way through its imports. They
remain in the parent's process group, where the SIGTERM of a service manager, and its SIGKILL, finds them too.
"""

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

_log = logging.getLogger(__name__)
_STDIN = 0
_POLL = 0.1  # seconds between two looks at a child where the system has no pidfd (macOS, Linux before 5.3)


class Backoff(NamedTuple):
    """How long a dead child stays dead, in seconds."""

    first: float = 0.5
    most: float = 10.0

    def delay(self, fruitless: int) -> float:
        """`fruitless`: how many lives in a row, up to the last one, achieved nothing. 0, 0, first, twice that..."""
        return 0.0 if fruitless < 2 else min(self.most, self.first * 2.0 ** min(fruitless - 2, 60))


class Child:
    """One life of a child process."""

    __slots__ = ("_process", "argv", "fruitless", "kept")

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes], kept: bool, fruitless: int) -> None:
        self.argv = argv
        self.kept = kept  # whether it is restarted
        self.fruitless = fruitless  # lives in a row before this one that achieved nothing
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, which nobody else has before `on_exit` was called."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, the negative number of the signal that killed it, or None while it lives."""
        return self._process.returncode

    @property
    def ending(self) -> str:
        """How it ended, for the log."""
        status = self.status
        if status is None:
            return "still running"
        return f"exit status {status}" if status >= 0 else f"killed by {_signal_name(-status)}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing where it has ended."""
        self._process.send_signal(number)

    def reap(self) -> bool:
        """Whether it has ended; does not wait."""
        return self._process.poll() is not None


class Children:
    """The children of this process. All methods belong to the thread of the running event loop.

    `environment` comes on top of the parent's own. `on_exit` is called the moment a child has ended, before it is
    restarted; then `fruitful` is asked whether that life achieved anything, without which the next one may have to
    wait (see Backoff). `pass_fds` are descriptors that children inherit.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        on_exit: Callable[[Child], None],
        fruitful: Callable[[Child], bool],
        pass_fds: Sequence[int] = (),
        backoff: Backoff | None = None,
    ) -> None:
        self._environment = environment
        self._on_exit = on_exit
        self._fruitful = fruitful
        self._pass_fds = tuple(pass_fds)
        self._backoff = backoff or Backoff()
        self._living: dict[int, Child] = {}
        self._restarts: set[asyncio.TimerHandle] = set()
        self._stopping = False
        self._idle = asyncio.Event()  # no child lives
        self._idle.set()
        self._pipe = os.pipe()

    @property
    def living(self) -> list[Child]:
        """Those that have not ended."""
        return list(self._living.values())

    def start(self, argv: Sequence[str], kept: bool = True) -> Child:
        """Start one more child, which is restarted whenever it ends if `kept`. Raises OSError where it cannot be."""
        return self._start(argv, kept, 0)

    async def stop(self, grace: float) -> None:
        """SIGTERM to all, SIGKILL `grace` seconds later to the rest; returns when none is left. None is restarted."""
        self._stopping = True
        for timer in self._restarts:
            timer.cancel()
        self._send(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)
        self._send(signal.SIGKILL)
        await self._idle.wait()
        self._close_pipe()

    def _start(self, argv: Sequence[str], kept: bool, fruitless: int) -> Child:
        if self._stopping:
            raise OSError("the parent is stopping")
        child = Child(argv, self._spawn(argv), kept, fruitless)
        self._living[child.pid] = child
        self._idle.clear()
        _on_death(asyncio.get_running_loop(), child, self._ended)
        return child

    def _spawn(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return subprocess.Popen(
                argv, stdin=self._pipe[0], env={**os.environ, **self._environment}, pass_fds=self._pass_fds
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _ended(self, child: Child) -> None:
        del self._living[child.pid]
        if not self._living:
            self._idle.set()
        try:
            self._on_exit(child)
        finally:  # whatever the callback raised, the child is not to stay dead for it
            if child.kept and not self._stopping:
                self._restart(child, 0 if self._fruitful(child) else child.fruitless + 1)

    def _restart(self, child: Child, fruitless: int) -> None:
        def again() -> None:
            self._restarts.discard(timer)
            try:
                self._start(child.argv, True, fruitless)
            except OSError as error:  # out of processes or memory
                _log.warning("a child process cannot be started: %s", error)
                self._restart(child, fruitless + 1)

        timer = asyncio.get_running_loop().call_later(self._backoff.delay(fruitless), again)
        self._restarts.add(timer)

    def _send(self, number: signal.Signals) -> None:
        for child in self.living:
            child.send(number)

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, (-1, -1)
        for descriptor in pipe:
            if descriptor >= 0:
                os.close(descriptor)


def watch_parent(loop: asyncio.AbstractEventLoop, on_gone: Callable[[], None], descriptor: int = _STDIN) -> None:
    """Call `on_gone` once when the process that started this one as a `Children` child has died."""

    def readable() -> None:
        if os.read(descriptor, 4096) == b"":
            loop.remove_reader(descriptor)
            on_gone()

    loop.add_reader(descriptor, readable)


def _on_death(loop: asyncio.AbstractEventLoop, child: Child, callback: Callable[[Child], None]) -> None:
    try:
        descriptor = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        loop.call_soon(_poll, loop, child, callback)
        return

    def readable() -> None:
        if child.reap():
            loop.remove_reader(descriptor)
            os.close(descriptor)
            callback(child)

    loop.add_reader(descriptor, readable)


def _poll(loop: asyncio.AbstractEventLoop, child: Child, callback: Callable[[Child], None]) -> None:
    if child.reap():
        callback(child)
    else:
        loop.call_later(_POLL, _poll, loop, child, callback)


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
