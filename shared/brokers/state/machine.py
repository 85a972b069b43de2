"""Every transition of the broker. The contract is in shared/broker.py; the G numbers below refer to it.

Whoever wraps this calls one method at a time, calls `tick` every `Limits.tick` seconds while `active`, and after each
call wakes those named in `take_wake()`: their waiting poll or drain has something to be told.
"""

import secrets
from collections.abc import Iterable, Sequence

from shared.brokers.state.lifecycle import Lifecycle
from shared.brokers.state.limits import Limits
from shared.brokers.state.reply import Reply
from shared.brokers.state.seat import Seat
from shared.brokers.state.session import Session
from shared.brokers.state.spent import Spent
from shared.brokers.state.subscriber import Subscriber
from shared.clock import Clock
from shared.errors import Busy, QueueFull, SessionNotFound, UnknownId
from shared.messages import (
    Accepted,
    Attached,
    Batch,
    Cursor,
    Flush,
    Page,
    Place,
    Polled,
    Recalled,
    Refusal,
    Stats,
    Submission,
)


class BrokerState:
    """The queue, the sessions, the leases. `epoch` names this memory: a new one has forgotten all."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self.epoch = secrets.token_hex(8)
        self._clock = clock
        self._limits = limits
        self._sessions: dict[str, Session] = {}
        self._life = Lifecycle(clock, limits)
        self._seats: dict[str, Seat] = {}
        self._subscribers: dict[str, Subscriber] = {}
        self._spent = Spent(limits.spent_tokens)
        self._ticked_at = clock.now()
        self._swept_at = clock.now()

    # --- for the wrapper ---------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether `tick` is due every `Limits.tick`; if not, every `Limits.idle_tick` is enough."""
        return bool(self._life.held or len(self._life.queue))

    def take_wake(self) -> set[str]:
        """Names of the gateways and workers that have news since the last call."""
        wake, self._life.wake = self._life.wake, set()
        return wake

    # --- gateway side ------------------------------------------------------------------------------------------------

    def open(
        self, session: str, owner: str, system: str | None, model: str | None, floor: int = 0, epoch: str = ""
    ) -> None:
        """Make a session known, and what its generations must be above; but not again in the memory that forgot it."""
        chat = self._sessions.get(session)
        if chat is None:
            if epoch == self.epoch:
                raise SessionNotFound
            chat = self._sessions[session] = Session(session, owner, system, model, self._clock.now())
        chat.last = max(chat.last, floor)

    def submit(self, submission: Submission) -> Accepted:
        """G1, G7: first the id is looked up, then busy or not."""
        session = self._session(submission.session)
        known = session.ids.get(submission.id)
        if known is not None:
            return Accepted(known.generation, self._life.queue.place(known), True, known.ended_at is not None)
        if session.running is not None:
            raise Busy(detail=session.running.generation)
        cancelled = submission.id in session.early_cancels
        if not cancelled and len(self._life.queue) >= self._limits.queue:
            raise QueueFull
        reply = self._life.begin(session, submission)
        if cancelled:
            del session.early_cancels[submission.id]
            self._life.finish(reply, self._life.done(reply, "cancelled"))
            return Accepted(reply.generation, ended=True)
        self._life.queue.add(reply)
        place = reply.told_place = self._life.queue.place_of_last(session.owner)
        self._assign()
        return Accepted(reply.generation, place if reply.held is None else 0)

    def cancel(self, session: str, id: str) -> bool:
        """G5. False: never seen, but remembered."""
        chat = self._session(session)
        reply = chat.ids.get(id)
        if reply is None:
            chat.early_cancels[id] = None
            if len(chat.early_cancels) > self._limits.early_cancels:
                del chat.early_cancels[next(iter(chat.early_cancels))]
            return False
        if reply.ended_at is None and reply.cancel_at is None:
            reply.cancel_at = self._clock.now()
            self._life.stop(reply)
        return True

    def attach(self, gateway: str, session: str, after: Cursor | None) -> Attached:
        """G8: what is kept comes in the page, what follows in the batches."""
        chat = self._session(session)
        self._subscriber(gateway).add(chat)
        chat.touched_at = self._clock.now()
        running = chat.running
        return Attached(
            self.epoch,
            chat.owner,
            chat.system,
            chat.model,
            [] if running is None else [running.id],
            chat.newest,
            0 if running is None else running.generation,
            chat.ended,
            chat.page(after, self._limits.page_bytes),
        )

    def detach(self, gateway: str, session: str) -> None:
        """End a subscription."""
        subscriber = self._subscribers.get(gateway)
        chat = self._sessions.get(session)
        if subscriber is not None and chat is not None:
            subscriber.remove(chat)
            chat.touched_at = self._clock.now()

    def drain(self, gateway: str, link: int) -> int:
        """A drain begins to wait; returns its number. Over a new link nothing of the old one's can be trusted."""
        subscriber = self._subscriber(gateway)
        if subscriber.link != link:
            subscriber.drop_all()
            subscriber.link = link
        subscriber.seen_at = self._clock.now()
        subscriber.drains += 1
        return subscriber.drains

    def batch(self, gateway: str, number: int, *, final: bool) -> Batch | None:
        """The answer to a drain; None while there is none. `final`: it has waited long enough."""
        subscriber = self._subscribers.get(gateway)
        if subscriber is None:
            return Batch(self.epoch, True, [], [])
        now = self._clock.now()
        batch = subscriber.batch(self.epoch, number, now)
        return subscriber.batch_now(self.epoch, now) if batch is None and final else batch

    def read(self, session: str, after: Cursor | None, limit: int) -> Page:
        """G2: whatever is kept can be read again."""
        return self._session(session).page(after, limit)

    def recall(self, session: str, id: str) -> Recalled:
        """What came with a note, while its reply is kept."""
        chat = self._session(session)
        reply = self._noted(chat, id)
        return Recalled(
            chat.owner,
            reply.request,
            reply.note,
            chat.event_before(reply),
            reply.items[-1].cursor if reply.items else None,
            reply.ended_at is not None,
            next(reversed(chat.replies.values())) is reply,
        )

    def annotate(self, session: str, id: str, note: bytes) -> None:
        """Replace a note."""
        self._life.annotate(self._noted(self._session(session), id), note)

    def newest(self, sessions: Sequence[str]) -> list[int]:
        """The index of each session's last item."""
        known = (self._sessions.get(session) for session in sessions)
        return [-1 if session is None else session.newest for session in known]

    def forget(self, session: str) -> None:
        """G11: gone at once."""
        chat = self._sessions.pop(session, None)
        if chat is None:
            return
        if chat.running is not None:
            self._life.withdraw(chat.running)
        for reply in list(chat.replies.values()):
            self._life.expire(reply)
        for subscriber in self._subscribers.values():
            if subscriber.forget(chat):
                self._life.wake.add(subscriber.name)

    def spend(self, token: str, spender: str, epoch: str, ttl: float) -> bool:
        """G12: a memory that is not of the token's epoch cannot know whether it was spent before."""
        if epoch != self.epoch:
            return False
        now = self._clock.now()
        self._spent.expire(now)
        known = self._spent.spender(token)
        if known is None:
            if self._spent.full:
                raise QueueFull("Too many one-time tokens were used just now; try again later.")
            self._spent.add(token, spender, now + ttl)
        return known in (None, spender)

    def leave_gateway(self, gateway: str) -> None:
        """A gateway says goodbye, or is known to be gone."""
        subscriber = self._subscribers.pop(gateway, None)
        if subscriber is not None:
            subscriber.drop_all()
            self._life.wake.add(gateway)

    # --- worker side -------------------------------------------------------------------------------------------------

    def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> int:
        """A poll begins to wait; returns its number."""
        now = self._clock.now()
        seat = self._seats.get(worker) or self._seats.setdefault(worker, Seat(worker, now))
        for stray in seat.park(seen, free_slots, alone, now):
            self._life.free(stray, blame=False)
        for number in held or ():
            lease = seat.held.get(number)
            if lease is None:
                seat.lost.append(number)
            else:
                lease.expires = now + self._limits.lease
        self._assign()
        return seat.polls

    def polled(self, worker: str, number: int, *, final: bool) -> Polled | None:
        """The answer to a poll; None while there is none. `final`: it has waited long enough."""
        seat = self._seats.get(worker)
        if seat is None:
            return Polled(self.epoch, number, [], [], [])
        now = self._clock.now()
        polled = seat.answer(self.epoch, number, now)
        return seat.answer_now(self.epoch, now) if polled is None and final else polled

    def append(self, flushes: Sequence[Flush]) -> list[Refusal]:
        """G2, G3, G4, G5: each is checked and filed, or refused."""
        refusals = []
        append = self._life.append
        for place, flush in enumerate(flushes):
            refusal = append(flush, place)
            if refusal is not None:
                refusals.append(refusal)
        self._assign()
        return refusals

    def release(self, leases: Sequence[int]) -> None:
        """Handed back without blame: the next attempt starts at once."""
        for number in leases:
            held = self._life.held.get(number)
            if held is not None:
                self._life.free(held, blame=False, told=True)
        self._assign()

    def renew(self, leases: Sequence[int]) -> None:
        """On behalf of a process that cannot poll."""
        expires = self._clock.now() + self._limits.lease
        for number in leases:
            held = self._life.held.get(number)
            if held is not None:
                held.expires = expires
                held.seat.seen_at = self._clock.now()

    def bury(self, worker: str) -> int:
        """G6: a reported death frees at once."""
        self._leave_worker(worker, blame=True)
        return self._life.queue.suspects

    def leave_worker(self, worker: str) -> None:
        """A worker says goodbye."""
        self._leave_worker(worker, blame=False)

    # --- both --------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The broker at a glance."""
        since = self._clock.now() - max(5.0, self._limits.lease * 2)
        return Stats(
            self.epoch,
            len(self._sessions),
            len(self._life.queue),
            len(self._life.held),
            self._life.queue.suspects,
            sum(seat.seen_at >= since for seat in self._seats.values() if not seat.alone),
            sum(subscriber.seen_at >= since for subscriber in self._subscribers.values()),
            self._life.kept_bytes,
        )

    def tick(self) -> None:
        """Let time pass: expire leases, cancels, waiting messages, kept replies and silent peers."""
        now = self._clock.now()
        self._forgive_pause(now)
        self._life.expire_leases(now)
        if now - self._swept_at >= 1.0:
            self._swept_at = now
            self._life.expire_waiting(now)
            self._life.expire_kept(now)
            self._spent.expire(now)
            self._tell_places()
            self._sweep(now)
        self._assign()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _session(self, id: str) -> Session:
        session = self._sessions.get(id)
        if session is None:
            raise SessionNotFound
        return session

    def _noted(self, session: Session, id: str) -> Reply:
        reply = session.ids.get(id)
        if reply is None or not reply.note:
            raise UnknownId
        return reply

    def _subscriber(self, gateway: str) -> Subscriber:
        subscriber = self._subscribers.get(gateway)
        if subscriber is None:
            subscriber = self._subscribers[gateway] = Subscriber(gateway, self._clock.now())
        return subscriber

    def _assign(self) -> None:
        """Give what waits to the workers whose poll waits, the freest first."""
        seats = [seat for seat in self._seats.values() if seat.parked and seat.free > 0]
        if len(seats) > 1:
            seats.sort(key=lambda seat: -seat.free)
        for seat in seats:
            self._life.take(seat)

    def _leave_worker(self, worker: str, *, blame: bool) -> None:
        seat = self._seats.pop(worker, None)
        if seat is None:
            return
        for held in tuple(seat.held.values()):
            self._life.free(held, blame=blame)
        self._life.wake.add(worker)
        self._assign()

    def _forgive_pause(self, now: float) -> None:
        """G6: after a pause of the broker's own nobody is to blame for silence."""
        pause, self._ticked_at = now - self._ticked_at, now
        if pause > self._limits.lease / 3:
            self._life.forgive(now)
        if pause > max(self._limits.silence / 3, self._limits.idle_tick * 2):
            for peer in self._peers():
                peer.seen_at = now

    def _peers(self) -> Iterable[Seat | Subscriber]:
        yield from self._seats.values()
        yield from self._subscribers.values()

    def _tell_places(self) -> None:
        """G10: news of the queue, at most once per second and session."""
        for place, reply in enumerate(self._life.queue.in_order()):
            if reply.told_place == place:
                continue
            reply.told_place = place
            for subscriber in reply.session.subscribers:
                subscriber.places[reply.session.id] = Place(reply.session.id, reply.id, place)
                self._life.wake.add(subscriber.name)

    def _sweep(self, now: float) -> None:
        """G11: sessions that nobody follows and that keep nothing, gateways that do not drain, workers that do not
        poll."""
        for session in tuple(self._sessions.values()):
            if session.subscribers:
                session.touched_at = now  # however it loses them, whoever comes next finds it for a while
            elif not session.replies and session.touched_at + self._limits.retention <= now:
                del self._sessions[session.id]
        silent = now - self._limits.silence
        for gateway in [name for name, subscriber in self._subscribers.items() if subscriber.seen_at <= silent]:
            self.leave_gateway(gateway)
        silent = now - max(self._limits.silence, self._limits.lease)  # a poll waits for a third of a lease
        for worker in [name for name, seat in self._seats.items() if seat.seen_at <= silent and not seat.held]:
            del self._seats[worker]
