"""The life of a reply: queued, leased, written, ended. Who may write is decided here (G3, G4, G5, G6 of
shared/broker.py)."""

import secrets
from collections import OrderedDict

from shared.brokers.state import terminals
from shared.brokers.state.limits import Limits
from shared.brokers.state.queue import Queue
from shared.brokers.state.reply import Reply
from shared.brokers.state.seat import Held, Seat
from shared.brokers.state.session import Session
from shared.clock import Clock
from shared.errors import Expired, WorkerLost
from shared.messages import TERMINAL, Done, Failed, FinishReason, Flush, Lease, Refusal, Submission


class Lifecycle:
    """All open and kept replies. `wake` gathers the names of peers that have news."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self.queue = Queue()
        self.held: dict[int, Held] = {}
        self.written: dict[int, Reply] = {}  # by the lease of its newest attempt, in force or not, unless it is ours
        self.cancelling: dict[int, Held] = {}  # leases whose worker has yet to answer a cancel
        self.ended: OrderedDict[Reply, None] = OrderedDict()  # in the order of their ends
        self.kept_bytes = 0
        self.wake: set[str] = set()
        self._lease_number = secrets.randbits(40)  # so that a lease of a former epoch names nothing now

    # --- from submit to lease ----------------------------------------------------------------------------------------

    def begin(self, session: Session, submission: Submission) -> Reply:
        """A new generation, above all that its session has seen."""
        generation = max(self._clock.wall_ms(), session.last + 1, submission.floor + 1)
        now = self._clock.now()
        reply = Reply(session, generation, submission.id, submission.request, now, submission.note)
        self.kept_bytes += reply.kept_beside
        session.add(reply)
        return reply

    def take(self, seat: Seat) -> None:
        """Lease to a worker whose poll waits as much as it has room for."""
        while seat.parked and seat.free > 0:
            reply = self.queue.take_suspect() if seat.alone else self.queue.take()
            if reply is None:
                return
            self._lease(reply, seat)

    def _lease(self, reply: Reply, seat: Seat) -> None:
        now = self._clock.now()
        reply.begin_attempt()
        reply.leased_at = now if reply.leased_at is None else reply.leased_at
        self.written.pop(reply.lease, None)
        self._lease_number += 1
        reply.lease = self._lease_number
        self.written[reply.lease] = reply
        held = Held(self._lease_number, reply, seat, now + self._limits.lease)
        reply.held = self.held[held.number] = seat.held[held.number] = held
        seat.free -= 1
        seat.leases.append(self._lease_message(held, reply, now, reply.leased_at))
        self.wake.add(seat.name)

    def _lease_message(self, held: Held, reply: Reply, now: float, leased_at: float) -> Lease:
        return Lease(
            held.number,
            reply.session.id,
            reply.generation,
            reply.attempt,
            reply.nonce,
            reply.id,
            reply.request,
            reply.text() if reply.items else "",
            reply.tally,
            bool(reply.items),
            reply.since_accepted_ms(now),
            reply.since_accepted_ms(leased_at),
        )

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, flush: Flush, place: int) -> Refusal | None:
        """Check the fence, which is the lease, and file an item; None says that it is stored."""
        reply = self.written.get(flush.lease)
        if reply is None:
            return Refusal(place, "fenced")
        first, count, ends = flush.first, flush.count, flush.flags & TERMINAL
        if first < reply.next_seq and reply.holds(first, count):
            return None  # a repeat: the first answer was lost
        held = reply.held
        if held is None or first != reply.next_seq or count < 1:
            return Refusal(place, "fenced")
        ends_only = ends and count == 1
        if reply.cancel_at is not None and not ends_only:
            return Refusal(place, "cancelled", round((self._clock.now() - reply.cancel_at) * 1000))
        if not self._make_room(reply.session, len(flush.events)) and not ends_only:  # which says more than `length`
            self.finish(reply, self.done(reply, "length"))
            return Refusal(place, "fenced")
        self._file(reply, flush)
        if ends:
            self._settle(held)
            held.seat.free += 1
            self._end(reply)
        return None

    def _file(self, reply: Reply, flush: Flush) -> None:
        """Stored first, then visible (G2)."""
        session, tally = reply.session, flush.tally
        item = session.file(reply, flush)
        self.kept_bytes += item.weight
        reply.next_seq = flush.first + flush.count
        reply.tally = tally
        if tally.pieces > reply.furthest:
            reply.furthest, reply.fruitful, reply.fruitless = tally.pieces, True, 0
        overfull = False
        for subscriber in session.subscribers:
            subscriber.offer(item)
            self.wake.add(subscriber.name)
            overfull = overfull or subscriber.bytes > self._limits.undrained_bytes
        if overfull:
            self._drop_overfull(session)

    def _drop_overfull(self, session: Session) -> None:
        for subscriber in session.subscribers:
            if subscriber.bytes > self._limits.undrained_bytes:
                subscriber.drop_all()

    def _make_room(self, session: Session, size: int) -> bool:
        """G10: ended replies go first, those of the same session and the oldest of all."""
        while session.bytes + size > self._limits.session_bytes:
            oldest = session.oldest_ended()
            if oldest is None:
                return False
            self.expire(oldest)
        while self.kept_bytes > self._limits.kept_bytes and self.ended:
            self.expire(next(iter(self.ended)))
        return True

    # --- the end -----------------------------------------------------------------------------------------------------

    def done(self, reply: Reply, reason: FinishReason) -> Done:
        """The terminal that the broker makes for a reply which stands as it is."""
        return terminals.done(reply, reason, self._clock.now())

    def finish(self, reply: Reply, event: Done | Failed) -> None:
        """The broker ends a reply itself (G4), in an attempt of its own that fences all others."""
        if reply.held is not None:
            self._tell_lost(reply.held)
            self._settle(reply.held)
        self.written.pop(reply.lease, None)
        flush = terminals.flush(reply, event)
        self._make_room(reply.session, len(flush.events))
        self._file(reply, flush)
        self._end(reply)

    def _end(self, reply: Reply) -> None:
        session = reply.session
        reply.ended_at = session.touched_at = self._clock.now()
        if not reply.note:
            reply.request = b""
        session.running = None
        session.ended = reply.generation
        self.ended[reply] = None

    def _settle(self, held: Held) -> None:
        """The lease is over: from here on its attempt is fenced."""
        del self.held[held.number]
        if self.cancelling:
            self.cancelling.pop(held.number, None)
        held.reply.held = None
        held.seat.settle(held)

    def _tell_lost(self, held: Held) -> None:
        held.seat.lost.append(held.number)
        self.wake.add(held.seat.name)

    def stop(self, reply: Reply) -> None:
        """A cancel is accepted (G5): at once where nobody runs the reply, by its worker otherwise."""
        if reply.held is None:
            self.queue.remove(reply)
            self.finish(reply, self.done(reply, "cancelled"))
        else:
            self.cancelling[reply.held.number] = reply.held
            reply.held.seat.cancelled.append(reply.held)
            self.wake.add(reply.held.seat.name)

    def free(self, held: Held, *, blame: bool, told: bool = False) -> None:
        """Take a lease back. With blame, its attempt counts as a crash. `told`: the worker knows."""
        reply = held.reply
        self._settle(held)
        if not told:
            self._tell_lost(held)
        if reply.cancel_at is not None:
            self.finish(reply, self.done(reply, "cancelled"))
            return
        if blame:
            reply.crashes += 1
            reply.fruitless += not reply.fruitful
        if reply.crashes >= self._limits.max_attempts or reply.fruitless >= self._limits.fruitless_attempts:
            self.finish(reply, terminals.failed(WorkerLost()))
            return
        reply.queued_at = self._clock.now()
        self.queue.add_again(reply, suspect=reply.fruitless == self._limits.fruitless_attempts - 1)

    def annotate(self, reply: Reply, note: bytes) -> None:
        """Replace the note; without one an ended reply's request is of no use any more."""
        self.kept_bytes -= reply.kept_beside
        reply.note = note
        if not note and reply.ended_at is not None:
            reply.request = b""
        self.kept_bytes += reply.kept_beside

    def withdraw(self, reply: Reply) -> None:
        """Take an open reply from wherever it is, without a trace."""
        if reply.held is not None:
            self._tell_lost(reply.held)
            self._settle(reply.held)
        else:
            self.queue.remove(reply)

    def expire(self, reply: Reply) -> None:
        """Drop a reply that is ended (or whose session is)."""
        self.ended.pop(reply, None)
        self.written.pop(reply.lease, None)
        self.kept_bytes -= reply.weight
        reply.session.expire(reply)

    # --- time --------------------------------------------------------------------------------------------------------

    def forgive(self, now: float) -> None:
        """All leases start anew."""
        for held in self.held.values():
            held.expires = now + self._limits.lease

    def expire_leases(self, now: float) -> None:
        """Free what was not renewed, and what did not answer a cancel."""
        for held in [held for held in self.held.values() if held.expires <= now]:
            self.free(held, blame=True)
        overdue = now - self._limits.cancel_grace
        for held in [held for held in self.cancelling.values() if (held.reply.cancel_at or now) <= overdue]:
            self.free(held, blame=True)

    def expire_waiting(self, now: float) -> None:
        """End what waited too long for a worker."""
        deadline = now - self._limits.queue_timeout
        for reply in [reply for reply in self.queue.in_order() if reply.queued_at <= deadline]:
            self.queue.remove(reply)
            self.finish(reply, terminals.failed(Expired()))

    def expire_kept(self, now: float) -> None:
        """Drop replies whose retention is over."""
        deadline = now - self._limits.retention
        while self.ended:
            oldest = next(iter(self.ended))
            if (oldest.ended_at or 0.0) > deadline:
                return
            self.expire(oldest)
