"""Calls under way: sent in the order in which they are made, answered in that order, and sent again over the next wire
where the first was lost.

Every call may be repeated without harm. One that has no answer after PATIENCE fails with BrokerUnavailable.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import hiredis
import msgspec
import structlog

from shared.answer import Answer
from shared.brokers.redis import calls, trouble
from shared.brokers.redis.mending import mend
from shared.brokers.redis.scripts import Script
from shared.brokers.redis.wire import Wire
from shared.errors import BrokerUnavailable, ChatError

PATIENCE = 5.0  # seconds that a call may wait for its answer
STALLED = 10.0  # seconds after which a server that answers nothing is given up
REFUSALS = ("OOM", "MISCONF", "BUSY", "NOREPLICAS")  # of a server that will do it later
log = structlog.get_logger("broker link")


class Call(NamedTuple):
    """One call under way. `lasting`: it goes over the next wire, too; else it fails with ConnectionResetError."""

    method: str
    args: tuple[Any, ...]
    answer: Answer[Any]
    lasting: bool


class Owner(Protocol):
    """Who is told what comes of it, in a sentence for the operator."""

    def refused(self, sentence: str) -> None:
        """The server does not do what it is asked, but this is the server to ask."""
        ...

    def broken(self, sentence: str) -> None:
        """This wire is of no use any more: `end` is to be called, and `begin` with another one."""
        ...


class Exchange:
    """Made within a running loop."""

    def __init__(self, scripts: Mapping[str, Script], owner: Owner) -> None:
        self._scripts = scripts
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._waiting: deque[Call] = deque()  # to be sent
        self._sent: deque[Call] = deque()
        self._flushing = False
        self._heard_at = 0.0
        self._mending: set[asyncio.Task[bool]] = set()
        self._watch: asyncio.TimerHandle | None = None

    def begin(self, wire: Wire) -> None:
        """Send over this one from now on."""
        self._wire = wire
        self._heard_at = self._loop.time()
        self._flush()

    def end(self) -> None:
        """It is gone: what lasts waits for the next one."""
        self._wire = None
        under_way = (*self._sent, *self._waiting)
        self._sent.clear()
        self._waiting = deque(call for call in under_way if call.lasting and not call.answer.settled)
        for call in under_way:
            if not call.lasting:
                self._settle(call, ConnectionResetError())

    def close(self) -> None:
        """There will be no next one."""
        self.end()
        for mending in tuple(self._mending):
            mending.cancel()
        if self._watch is not None:
            self._watch.cancel()
        self._fail(self._waiting)
        self._waiting.clear()

    def call(self, method: str, args: tuple[Any, ...], *, lasting: bool) -> Answer[Any]:
        """Start one."""
        loop = self._loop
        answer: Answer[Any] = Answer(loop.time(), loop)
        self._waiting.append(Call(method, args, answer, lasting))
        if self._watch is None:
            self._watch = loop.call_later(PATIENCE / 10, self._check_patience)
        if not self._flushing and self._wire is not None:
            self._flushing = True
            loop.call_soon(self._flush)
        return answer

    def _flush(self) -> None:
        """Send what waits, in one write."""
        self._flushing = False
        if self._wire is None or not self._waiting:
            return
        waiting, self._waiting = self._waiting, deque()
        if not self._sent:
            self._heard_at = self._loop.time()
        self._sent.extend(waiting)
        self._wire.send(
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
            self._owner.broken("the Redis server was emptied")
        except ChatError as error:
            self._settle(call, error)
        except msgspec.DecodeError:
            self._unreadable(call)
        else:
            self._pay(call, result, owed)

    def _lost_by(self, error: str) -> bool:
        """Whether it says that this is not the server to ask, or that it must be greeted again."""
        kind = trouble.kind_of(error)
        if kind in ("ERR", "WRONGTYPE", *REFUSALS):
            return False
        self._owner.broken(self._sentence(error) if kind != "NOSCRIPT" else "the Redis server has lost the scripts")
        return True

    def _sentence(self, error: str) -> str:
        assert self._wire is not None
        return str(trouble.of_error(self._wire.address, error))

    def _refused(self, call: Call, error: str) -> ChatError:
        """A call alone that failed."""
        if trouble.kind_of(error) in REFUSALS:
            self._owner.refused(self._sentence(error))
            return BrokerUnavailable()
        log.error("a script failed", method=call.method, error=error[:1000])
        return ChatError()

    def _unreadable(self, call: Call) -> None:
        """Something is stored that is none of ours, or was spoilt: it is put aside, and the call made again."""
        if call.method in ("attach", "read"):
            session = call.args[1] if call.method == "attach" else call.args[0]
            mending = self._loop.create_task(mend(self.call, session))
            self._mending.add(mending)
            mending.add_done_callback(partial(self._mended, call))
            return
        log.error("what the broker answers cannot be read", method=call.method)
        self._settle(call, ChatError())
        if call.method == "batch":  # attaching anew finds which session it is
            self._owner.broken("what was brought could not be read")

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
            self.call("finish", terminal.finish(), lasting=True).add_done_callback(paid)

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
        if self._sent and self._wire is not None and self._heard_at <= now - STALLED:
            self._owner.broken(str(trouble.of_exception(self._wire.address, TimeoutError())))
        busy = self._sent or self._waiting
        self._watch = self._loop.call_later(PATIENCE / 10, self._check_patience) if busy else None

    def _fail(self, failed: Iterable[Call]) -> None:
        for call in failed:
            self._settle(call, BrokerUnavailable())
