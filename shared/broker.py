"""The broker as its two users see it. These docstrings are the contract; tests/contracts proves it on every broker.

G1 Submit     idempotent on (session, message id): an id that is known never runs again. An accepted one reaches a
              worker at least once, or ends `expired`.
G2 Order      a session's events are totally ordered by position, stored before they are visible, readable again. A
              flush groups deltas, it never merges them.
G3 Fencing    an append by any attempt but the newest is refused by the broker itself; freeing a lease is already the
              fence.
G4 Terminals  exactly one per generation, whoever makes it; nothing of that generation is accepted behind it.
G5 Cancel     ends a queued generation at once and a running one within a second, with or without its worker. Never a
              takeover after it.
G6 Leases     last seconds, are renewed by poll, and count only while the broker serves. Crashes and expiries count as
              attempts.
G7 One running generation per session; a second submit is refused with Busy.
G8 Delivery   every attached gateway gets every item once; `Item.index` shows any gap, `read` closes it.
G9 Loss       is said: `Page.recovered`, `Batch.lost`, a new epoch. Never a silent gap.
G10 Bounds    on the queue, on a session's bytes, on undrained batches, on retention.
G11 Nothing left  when nothing runs: no memory beyond what retention keeps.
G12 Spending  a token is spent by one spender only, whichever gateway process asks.

Methods return awaitables that are started at the call: a caller that needs no answer need not await, and calls made
one after the other reach the broker in that order. Each may fail with BrokerUnavailable, which says that its effect
is unknown.
"""

from asyncio import Future
from collections.abc import Sequence
from typing import Protocol

from shared.messages import Accepted, Attached, Batch, Cursor, Flush, Page, Polled, Recalled, Refusal, Stats, Submission


class NoBroker(ValueError):
    """No broker serves us at the address that is set; the message is a sentence for the operator that says what to
    do."""


class GatewayBroker(Protocol):
    """What a gateway process may do. One object per process; its name is the process's."""

    def open(
        self, session: str, owner: str, system: str | None, model: str | None, floor: int = 0, epoch: str = ""
    ) -> Future[None]:
        """Make the session known. Its new generations are to be above `floor`: the newest one that the caller knows,
        for the sake of readers whose events a memory has lost that knew it. Repeating it changes nothing else.

        `epoch`: the memory in which the caller has known the session. Where it is this very one, and the session is not
        there, it has been forgotten, and stays so: SessionNotFound.
        """
        ...

    def submit(self, submission: Submission) -> Future[Accepted]:
        """Put a message into the queue (G1). Fails with SessionNotFound, Busy (`detail`: the running generation) or
        QueueFull.

        First the id is looked up, then busy or not. The generation's items may be drained before this answer arrives:
        the caller holds them back until then.
        """
        ...

    def cancel(self, session: str, id: str) -> Future[bool]:
        """Stop a reply (G5). False: the id was never seen; it is remembered, so that its submit is accepted and ended
        at once. An id that has ended stays as it is. Fails with SessionNotFound."""
        ...

    def attach(self, session: str, after: Cursor | None) -> Future[Attached]:
        """Subscribe this process to the session and get what stands behind `after` (None: all that is kept).

        No gap: what the returned page does not hold (see `Page.more`) is read by `read`, and whatever is filed from
        this moment on comes by `drain`. Attaching twice is one subscription. Fails with SessionNotFound.
        """
        ...

    def detach(self, session: str) -> Future[None]:
        """End the subscription. An unknown session is fine."""
        ...

    async def drain(self) -> Batch:
        """Wait up to a few seconds for the next batch (empty at the end of that time). One at a time.

        A batch is delivered at most once. After a failure the next one that succeeds has `lost` set. Never fails
        while the broker is merely away: it waits, linking anew.
        """
        ...

    def read(self, session: str, after: Cursor | None, limit: int) -> Future[Page]:
        """At most `limit` bytes of items (but at least one item) behind `after`. An `after` within an item gives that
        whole item. Fails with SessionNotFound."""
        ...

    def recall(self, session: str, id: str) -> Future[Recalled]:
        """What was submitted under this id, with a note, for as long as its reply is kept. Fails with SessionNotFound
        and UnknownId."""
        ...

    def annotate(self, session: str, id: str, note: bytes) -> Future[None]:
        """Replace the note that a message was submitted with; an empty one ends its being recalled. Fails as `recall`
        does."""
        ...

    def newest(self, sessions: Sequence[str]) -> Future[list[int]]:
        """The index of each session's last item (-1: none, or no such session): the check of sessions that have been
        silent."""
        ...

    def forget(self, session: str) -> Future[None]:
        """Remove the session with all it holds, at once. What runs for it is aborted; the gateways that are attached to
        it hear of it by `Batch.gone`, and by a failing `open` where that was lost."""
        ...

    def spend(self, token: str, spender: str, epoch: str, ttl: float) -> Future[bool]:
        """Use up a one-time token (G12), and remember that for `ttl` seconds, after which nobody must take it for good
        any more.

        True for the first `spender` (a name of this one attempt: the call may be repeated) and for no other. False
        also where `epoch`, that in which the token was made, is not the broker's: a memory that is lost cannot know.
        Fails with QueueFull where too many are remembered.
        """
        ...

    def stats(self) -> Future[Stats]:
        """The broker at a glance."""
        ...

    async def close(self) -> None:
        """Say goodbye: subscriptions end, nothing is left behind."""
        ...


class WorkerBroker(Protocol):
    """What a worker process may do. One object per process; its name is the process's."""

    async def poll(self, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool = False) -> Polled:
        """Wait up to a third of a lease for new leases, cancels and losses. One at a time.

        `seen` is the `number` of the last answer that arrived (0: none): what was given in later answers is free at
        once, and their cancels are told again. `held` renews exactly the leases it names; None renews none. `alone`:
        this process takes only generations that crashed their worker twice without a new piece. Free slots count on
        while the poll waits: a lease that is settled makes room for the next. Never fails while the broker is merely
        away: it waits, linking anew.
        """
        ...

    def append(self, flushes: Sequence[Flush]) -> Future[list[Refusal]]:
        """Store each as an item of its session, in order; an empty answer says that all were stored. A repeat (same
        first seq and count) is fine, also where the lease has been settled by its terminal.

        `fenced`: this attempt may write no more: abort it. `cancelled`: nothing was stored; abort, and send the
        terminal alone, over the text that was acknowledged. One with Flag.TERMINAL settles its lease.
        """
        ...

    def release(self, leases: Sequence[int]) -> Future[None]:
        """Hand leases back, unfinished, without blame: their next attempt starts at once."""
        ...

    def renew(self, leases: Sequence[int]) -> Future[None]:
        """Lengthen leases on behalf of a process whose engine blocks its event loop. Called by its supervisor."""
        ...

    def bury(self, worker: str) -> Future[int]:
        """Report the death of a worker process: its leases are free at once. Returns the suspects now waiting to run
        alone."""
        ...

    def stats(self) -> Future[Stats]:
        """The broker at a glance."""
        ...

    async def close(self) -> None:
        """Say goodbye: leases still held are handed back as by `release`."""
        ...
