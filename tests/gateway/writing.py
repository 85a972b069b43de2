"""The worker's side of a chat without processes: what is leased, the test writes."""

from shared.brokers.memory import MemoryBroker
from shared.errors import ChatError
from shared.messages import (
    Delta,
    Done,
    Event,
    Failed,
    FinishReason,
    Flag,
    Flush,
    Lease,
    Receipt,
    Refusal,
    Started,
    Takeover,
    Tally,
    Timing,
    Usage,
    encode_events,
    text_sha256,
)


class Run:
    """An attempt, as a worker writes it."""

    def __init__(self, memory: MemoryBroker, lease: Lease) -> None:
        self.lease = lease
        self._memory = memory
        self._seq = 0
        self._text = lease.text
        self._pieces = lease.tally.pieces

    def say(self, *texts: str, exact: bool = True) -> list[Refusal]:
        """One flush of these pieces; the first one begins the attempt."""
        return self._append(texts, None, exact)

    def done(
        self, *texts: str, reason: FinishReason = "stop", receipt: Receipt | None = None, exact: bool = True
    ) -> list[Refusal]:
        """One flush: these pieces and the end. A cancelled one is the terminal alone."""
        text = ("" if self._restarts(exact) else self._text) + "".join(texts)
        end = Done(reason, Usage(1, 2, False), Timing(1, 2, 3), text_sha256(text), receipt)
        return self._append(texts, end, exact)

    def failed(self, error: ChatError) -> list[Refusal]:
        """One flush: the end, in an error."""
        return self._append((), Failed(error.code, error.message, error.retryable), True)

    def _restarts(self, exact: bool) -> bool:
        return self._seq == 0 and self.lease.visible and not exact

    def _append(self, texts: tuple[str, ...], end: Done | Failed | None, exact: bool) -> list[Refusal]:
        head: list[Event] = []
        if self._seq == 0 and not (isinstance(end, Done) and end.finish_reason == "cancelled"):
            head = [Takeover(exact) if self.lease.visible else Started("echo")]
        restarts = bool(head) and self._restarts(exact)
        started = bool(head) and not self.lease.visible
        flags = Flag.STARTED * started | Flag.RESTART * restarts | Flag.TERMINAL * (end is not None)
        text, pieces = ("", 0) if restarts else (self._text, self._pieces)
        pieces += len(texts)
        events = [*head, *map(Delta, texts), *([end] if end is not None else [])]
        tally = Tally(pieces, pieces, 1, 2)
        flush = Flush(self.lease.number, self._seq, len(events), int(flags), tally, encode_events(events))
        refusals: list[Refusal] = self._memory.call("append", [flush])
        if not refusals:
            self._seq += len(events)
            self._text, self._pieces = text + "".join(texts), pieces
        return refusals


class Worker:
    """Takes whatever waits; `alone`: what has to run alone."""

    def __init__(self, memory: MemoryBroker, name: str = "worker", *, alone: bool = False) -> None:
        self._memory = memory
        self._alone = alone
        self.name = name
        self._seen = 0
        self._held: list[int] = []

    def take(self) -> list[Run]:
        """What a poll brings."""
        number = self._memory.call("poll", self.name, self._seen, self._held, 100, self._alone)
        polled = self._memory.state.polled(self.name, number, final=True)
        assert polled is not None
        self._seen = polled.number
        self._held += [lease.number for lease in polled.leases]
        self._held = [lease for lease in self._held if lease not in polled.lost]
        return [Run(self._memory, lease) for lease in polled.leases]

    def take_one(self) -> Run:
        """The only one that waits."""
        (run,) = self.take()
        return run

    def renew(self) -> None:
        """It lives."""
        self._memory.call("renew", self._held)

    def die(self) -> None:
        """Its supervisor reports its death; another takes its place."""
        self._memory.call("bury", self.name)
        self._seen, self._held = 0, []
