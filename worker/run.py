"""One attempt at a generation: engine output in, flushes for the broker out. No I/O, the clock is handed in.

Of a run at most one flush is on its way to the broker; what the engine makes meanwhile waits behind it. Only what the
broker has acknowledged counts: a cancel drops the rest, so that its terminal is true to what the reader holds.
"""

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

import structlog

from shared.clock import Clock
from shared.errors import ChatError, EngineError
from shared.messages import (
    Delta,
    Done,
    Event,
    Failed,
    Flag,
    Flush,
    Lease,
    Refusal,
    Started,
    Takeover,
    Tally,
    Usage,
    encode_events,
)
from shared.request import decode_request
from shared.store import Answer
from worker import ending
from worker.engines.base import Engine, Job, Start

MOST_PIECES = 1_000  # made but not acknowledged, before the engine is asked to wait
MOST_CHARACTERS = 64 << 10  # the same
STARTED, RESTART, TERMINAL = int(Flag.STARTED), int(Flag.RESTART), int(Flag.TERMINAL)  # IntFlag's own `|` is slow

log = structlog.get_logger("run")


class Outlet(Protocol):
    """Where a run says that it has something to send."""

    def offer(self, run: "Run", urgent: bool) -> None:
        """`take` is to be called soon; not called again before that. `urgent`: a reader waits for its first piece."""
        ...


class Run:
    """An attempt, and the sink of its engine: made from a lease; over when its terminal is stored or its lease lost.
    `start` is how the engine is started, unless it is done as usual.

    Whoever calls `take` sends the flush and tells what came of it, by `stored` or `refused`, before the next `take`.
    """

    __slots__ = (
        "_abort",
        "_acked",
        "_barred",
        "_base",
        "_characters",
        "_clock",
        "_closing",
        "_ending",
        "_engine",
        "_first_token_ms",
        "_flying",
        "_flying_characters",
        "_flying_head",
        "_head",
        "_leased_at",
        "_listed",
        "_model",
        "_open",
        "_outlet",
        "_progress_at",
        "_prompt_tokens",
        "_receipt",
        "_relief",
        "_resumes",
        "_seen",
        "_sent",
        "_seq",
        "_start",
        "_stopped_at",
        "_texts",
        "_tokens",
        "kept",
        "lease",
        "over",
        "tally",
    )

    def __init__(self, lease: Lease, engine: Engine, outlet: Outlet, clock: Clock, start: Start | None = None) -> None:
        stands = lease.visible and lease.text != ""
        self.lease = lease
        self.tally = lease.tally  # as acknowledged
        self.over = False
        self.kept = False  # how it ends is to be stored first
        self._barred = False  # and that is not done, so the terminal has to wait
        self._closing: tuple[str, Done | Failed] | None = None  # the text and the terminal, as they were composed last
        self._model = engine.model
        self._engine = engine
        self._start = start or engine.start
        self._outlet = outlet
        self._clock = clock
        self._resumes = stands and engine.continues
        self._base = lease.tally if self._resumes else Tally()
        self._head: Event | None = Takeover(self._resumes or not stands) if lease.visible else Started(engine.model)
        self._prompt_tokens = lease.tally.prompt_tokens
        self._first_token_ms = lease.tally.first_token_ms
        self._leased_at = self._progress_at = self._stopped_at = clock.now()
        self._texts: list[str] = []  # own pieces: [:acked] are stored, [acked:sent] on their way
        self._acked = self._sent = self._seen = 0
        self._tokens = self._characters = 0  # characters: of pieces that are not acknowledged
        self._seq = 0  # of the next event to be acknowledged
        self._flying: Flush | None = None  # on its way
        self._flying_characters = 0
        self._flying_head: Event | None = None
        self._ending: tuple[Literal["stop", "length"], Usage | None] | Failed | None = None
        self._receipt: tuple[int, int] | None = None  # of a cancel: pieces generated, stop_ms
        self._listed = False
        self._open = True
        self._relief: asyncio.Event | None = None
        self._abort: Callable[[], None] | None = None

    def begin(self) -> None:
        """Start the engine. What it gives at once goes out together with `started`, which itself waits for nothing."""
        try:
            self._abort = self._start(self._job(), self)
        except ChatError as error:
            self.fail(error)
        except Exception:
            log.exception("the engine cannot start", message_id=self.lease.id)
            self.fail(EngineError())
        self._offer(urgent=True)

    def _job(self) -> Job:
        request = decode_request(self.lease.request)
        self.kept = request.stored
        if request.model is not None:
            self._model = request.model
            if isinstance(self._head, Started):
                self._head = Started(request.model)
        self._prompt_tokens = self._prompt_tokens or ending.prompt_tokens(request)
        lease, base = self.lease, self._base
        return Job(request, self._prefix, base.pieces, base.tokens, lease.session, lease.id)

    @property
    def _prefix(self) -> str:
        """What stood before this attempt and still does once its head is stored."""
        return self.lease.text if self._resumes else ""

    # --- what the engine calls: Sink ---------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """See Sink."""
        return self._characters >= MOST_CHARACTERS or len(self._texts) - self._acked >= MOST_PIECES

    async def relief(self) -> None:
        """See Sink."""
        if self._relief is None:
            self._relief = asyncio.Event()
        while self._open and self.congested:
            self._relief.clear()
            await self._relief.wait()

    def prompt(self, tokens: int) -> None:
        """See Sink."""
        self._prompt_tokens = tokens

    def restart(self) -> None:
        """See Sink. Where the reader has been told already that it goes on, another head takes that back."""
        if self._resumes and self._open and not self._texts:
            self._resumes, self._base, self._head = False, Tally(), Takeover(False)
            self._offer(urgent=True)

    def piece(self, text: str, tokens: int = 1) -> None:
        """See Sink. The hot path."""
        if not (self._open and text):
            return
        if not isinstance(text, str):  # bytes would do harm only where they are decoded, to others
            raise TypeError("a piece of text is a str")
        texts = self._texts
        texts.append(text)
        self._tokens += tokens
        self._characters += len(text)
        if self._first_token_ms is None:
            self._first_token_ms = self._since_accepted_ms()
        if not self._listed:
            self._listed = True
            self._outlet.offer(self, len(texts) == 1)

    def finish(self, reason: Literal["stop", "length"], usage: Usage | None = None) -> None:
        """See Sink."""
        if self._open:
            self._shut()
            self._ending = (reason, usage)
            self._offer(urgent=False)

    def fail(self, error: ChatError) -> None:
        """See Sink."""
        if self._open:
            self._shut()
            self._ending = ending.failed(error)
            self._offer(urgent=False)

    # --- what the runner calls ---------------------------------------------------------------------------------------

    def cancel(self, age_ms: int) -> None:
        """The user wants it stopped, and said so `age_ms` ago: stop the engine now, send the terminal alone."""
        if self.over or self._receipt is not None:
            return
        now = self._clock.now()
        self.halt()
        stop_ms = age_ms + round((self._stopped_at - now) * 1000)
        self._receipt = (self.lease.tally.pieces + len(self._texts), max(0, stop_ms))
        del self._texts[self._sent :]
        self._offer(urgent=True)

    def halt(self) -> None:
        """Stop the engine; what it made so far may still be sent."""
        if self._open:
            abort, self._abort = self._abort, None
            self._open = False  # before the abort, which may call back
            try:
                if abort is not None:
                    abort()
            except Exception:
                log.exception("the engine cannot stop", message_id=self.lease.id)
            self._shut()

    def abort(self) -> None:
        """The lease is lost: stop the engine, say nothing more."""
        self.halt()
        self.over = True

    def patience(self, now: float) -> float:
        """Seconds that the engine may still take until its next piece; its lease is renewed while that is positive.

        Seen from call to call: time counts only while the engine has to give something and is not held up by us.
        """
        made = len(self._texts)
        if made != self._seen or made != self._acked or not self._open:
            self._seen, self._progress_at = made, now
        limit = self._engine.next_piece_limit if made else self._engine.first_piece_limit
        return self._progress_at + limit - now

    # --- what the flusher calls --------------------------------------------------------------------------------------

    def take(self) -> Flush | None:
        """All that waits, as one flush; None where there is nothing."""
        self._listed = False
        if self.over:
            return None
        try:
            flush = self._compose()
        except UnicodeEncodeError:
            self._texts[self._sent :] = map(ending.mended, self._texts[self._sent :])
            flush = self._compose()
        if flush.count == 0:
            return None
        self._sent = len(self._texts)
        self._flying = flush
        self._flying_characters = self._characters
        self._flying_head = self._head
        return flush

    def stored(self) -> None:
        """The flush is stored."""
        flush, self._flying = self._flying, None
        assert flush is not None
        if self._head is self._flying_head:
            self._head = None
        self._seq += flush.count
        self._acked = self._sent
        self._characters -= self._flying_characters
        self.tally = flush.tally
        if flush.flags & TERMINAL:
            self.over = True
        if self._relief is not None:
            self._relief.set()

    def refused(self, refusal: Refusal) -> None:
        """The flush is not in the broker, and never will be."""
        self._flying = None
        self._sent = self._acked
        if refusal.reason == "fenced":
            self.abort()
        else:
            self.cancel(refusal.age_ms)

    # --- what the keeper calls ---------------------------------------------------------------------------------------

    def answer(self, flush: Flush, now_ms: int) -> Answer:
        """How it ended, by the terminal that was taken last."""
        assert self._closing is not None
        text, end = self._closing
        lease = self.lease
        place = (lease.generation, lease.attempt, flush.first + flush.count - 1, lease.nonce)
        return Answer(lease.session, lease.id, *place, text, end, self._model, now_ms)

    def hold_back(self) -> None:
        """The item that was taken is not sent: its terminal has to wait until `go_on`, its pieces need not."""
        self._flying, self._sent, self._barred = None, self._acked, True
        self._offer(urgent=False)

    def go_on(self) -> None:
        """The terminal may be taken again."""
        self._barred = False
        self._offer(urgent=False)

    def give_up(self, error: ChatError) -> None:
        """It cannot be stored how it ended, so it ends in an error; unless it was cancelled, which is as it is."""
        self._flying, self._sent = None, self._acked
        self._ending = ending.failed(error)
        self.kept = self._barred = False
        self._offer(urgent=False)

    # --- composing ---------------------------------------------------------------------------------------------------

    def _compose(self) -> Flush:
        """The next flush: the head if it is still to come, the pieces, the end if it is here."""
        if self._receipt is not None:
            return self._flush(0, self.tally, []) if self._barred else self._cancelled(*self._receipt)
        texts, base = self._texts, self._base
        tally = Tally(base.pieces + len(texts), base.tokens + self._tokens, self._prompt_tokens, self._first_token_ms)
        events: list[Event] = list(map(Delta, texts[self._sent :]))
        flags = 0
        if self._head is not None:
            events.insert(0, self._head)
            flags = _head_flags(self._head)
        if self._ending is not None and not self._barred:
            events.append(self._terminal(self._ending, tally))
            flags |= TERMINAL
        return self._flush(flags, tally, events)

    def _cancelled(self, generated: int, stop_ms: int) -> Flush:
        """The terminal alone, over what the broker acknowledged: before the head, that is what the lease brought."""
        tally = self.tally
        tally = Tally(tally.pieces, tally.tokens, tally.prompt_tokens or self._prompt_tokens, tally.first_token_ms)
        text = self.lease.text if self._head is not None else self._prefix + "".join(self._texts[: self._acked])
        done = ending.cancelled(self.lease, tally, self._total_ms(), text, generated, stop_ms)
        self._closing = (text, done)
        return self._flush(TERMINAL, tally, [done])

    def _terminal(self, end: tuple[Literal["stop", "length"], Usage | None] | Failed, tally: Tally) -> Done | Failed:
        text = self._prefix + "".join(self._texts)
        if isinstance(end, Failed):
            self._closing = (text, end)
            return end
        reason, counted = end
        usage = ending.usage(tally, counted, self._base if self._resumes else None)
        done = ending.complete(self.lease, reason, usage, tally, self._total_ms(), text)
        self._closing = (text, done)
        return done

    def _flush(self, flags: int, tally: Tally, events: list[Event]) -> Flush:
        return Flush(self.lease.number, self._seq, len(events), flags, tally, encode_events(events))

    # --- small things ------------------------------------------------------------------------------------------------

    def _offer(self, urgent: bool) -> None:
        if not self._listed:
            self._listed = True
            self._outlet.offer(self, urgent)

    def _shut(self) -> None:
        """Nothing more comes from the engine."""
        self._open = False
        self._stopped_at = self._clock.now()
        if self._relief is not None:
            self._relief.set()

    def _since_accepted_ms(self) -> int:
        return self.lease.waited_ms + round((self._clock.now() - self._leased_at) * 1000)

    def _total_ms(self) -> int:
        return self.lease.waited_ms + round((self._stopped_at - self._leased_at) * 1000)


def _head_flags(head: Event) -> int:
    if isinstance(head, Takeover):
        return 0 if head.exact else RESTART
    return STARTED
