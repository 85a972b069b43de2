"""What the contract says of a broker, as plainly as it can be said: everything is kept, every list is searched.

It shares no code with shared/brokers/state: it says what must be stored and told, never how. What it cannot know
(which worker gets a lease, the nonces) it looks at and judges.
"""

import hashlib

from shared.brokers.state import Limits
from shared.errors import Busy, Expired, QueueFull, SessionNotFound, WorkerLost
from shared.messages import (
    Batch,
    Delta,
    Done,
    Failed,
    Flag,
    Flush,
    Item,
    Lease,
    Polled,
    Receipt,
    Submission,
    Tally,
    Timing,
    Usage,
    decode_events,
)
from tests.conftest import FakeClock
from tests.shared.brokers.state.nouns import Chat, Gateway, Reply, Seat


def ms(seconds: float) -> int:
    return round(seconds * 1000)


class Model:
    """Methods are named after those of the state machine that they foretell."""

    def __init__(self, clock: FakeClock, limits: Limits) -> None:
        self.clock = clock
        self.limits = limits
        self.chats: dict[str, Chat] = {}
        self.leases: dict[int, Reply] = {}
        self.seats: dict[str, Seat] = {}
        self.gateways: dict[str, Gateway] = {}
        self.accepted = 0
        self.ticked_at = self.swept_at = clock.now()

    @property
    def waiting(self) -> list[Reply]:
        return [reply for chat in self.chats.values() for reply in chat.replies if reply.waits]

    def chat(self, id: str) -> Chat:
        if id not in self.chats:
            raise SessionNotFound
        return self.chats[id]

    def followers(self, chat: Chat) -> list[Gateway]:
        return [gateway for gateway in self.gateways.values() if chat.id in gateway.follows]

    # --- gateway side ------------------------------------------------------------------------------------------------

    def open(self, session: str, owner: str, floor: int, known: bool) -> None:
        """G11: a session that this memory has known and forgotten does not come back by who has known it."""
        if known and session not in self.chats:
            raise SessionNotFound
        chat = self.chats.setdefault(session, Chat(session, owner, self.clock.now()))
        chat.last = max(chat.last, floor)

    def submit(self, submission: Submission) -> Reply:
        """G1, G7, G10."""
        chat = self.chat(submission.session)
        for reply in chat.replies:
            if reply.id == submission.id:
                return reply
        if chat.running is not None:
            raise Busy(detail=chat.running.generation)
        early = submission.id in chat.early
        if not early and self.full(len(submission.request)):
            raise QueueFull
        now = self.clock.now()
        generation = max(self.clock.wall_ms(), chat.last + 1, submission.floor + 1)
        reply = Reply(chat, submission.id, generation, submission.request, self.accepted, now, now)
        self.accepted += 1
        chat.last = generation
        chat.replies.append(reply)
        chat.accepted.append(reply)
        if early:
            chat.early.remove(submission.id)
            self.owe(reply, "cancelled")
        return reply

    def full(self, more: int) -> bool:
        """G10: a single one always has room by its bytes."""
        bytes = sum(len(reply.request) for reply in self.waiting)
        return len(self.waiting) >= self.limits.queue or (bytes > 0 and bytes + more > self.limits.queue_bytes)

    def cancel(self, session: str, id: str) -> bool:
        """G5."""
        chat = self.chat(session)
        for reply in chat.replies:
            if reply.id == id:
                if reply.open and reply.cancel_at is None:
                    reply.cancel_at = self.clock.now()
                    if reply.lease:
                        self.seats[reply.worker].cancels.add(reply.lease)
                    else:
                        self.owe(reply, "cancelled")
                return True
        chat.early = [*(other for other in chat.early if other != id), id] if id not in chat.early else chat.early
        del chat.early[: -self.limits.early_cancels]
        return False

    def attach(self, name: str, session: str) -> Chat:
        chat = self.chat(session)
        self.gateway(name).follows.add(session)
        return chat

    def gateway(self, name: str) -> Gateway:
        return self.gateways.setdefault(name, Gateway(self.clock.now()))

    def detach(self, name: str, session: str) -> None:
        if name in self.gateways and session in self.chats and session in self.gateways[name].follows:
            self.gateways[name].follows.discard(session)
            self.chats[session].idle_since = self.clock.now()

    def drain(self, name: str, link: int) -> None:
        gateway = self.gateway(name)
        if gateway.link != link:
            self.unfollow(gateway)
            gateway.link = link
        gateway.seen_at = self.clock.now()

    def unfollow(self, gateway: Gateway) -> None:
        for session in gateway.follows & self.chats.keys():
            self.chats[session].idle_since = self.clock.now()
        gateway.drop()

    def brought(self, name: str, batch: Batch) -> None:
        """G8: exactly what was stored since the last drain, in the order of each session, and once."""
        gateway = self.gateways.get(name)
        if gateway is None:
            assert batch.lost
            assert not batch.items
            return
        assert batch.lost == gateway.lost
        for session in {item.session for item in (*batch.items, *gateway.pending)}:
            given = [item for item in batch.items if item.session == session]
            assert given == [item for item in gateway.pending if item.session == session]
        assert len({place.session for place in batch.places}) == len(batch.places)
        for place in batch.places:
            assert any(reply.id == place.id for reply in self.chats[place.session].accepted)
        assert batch.gone == gateway.gone
        gateway.lost, gateway.pending, gateway.gone, gateway.seen_at = False, [], [], self.clock.now()

    def forget(self, session: str) -> None:
        """G11: gone, and nothing of it on its way any more."""
        chat = self.chats.pop(session, None)
        if chat is None:
            return
        if chat.running is not None and chat.running.lease:
            self.seats[chat.running.worker].lost.add(chat.running.lease)
            del self.leases[chat.running.lease]
        for gateway in self.gateways.values():
            if session in gateway.follows:
                gateway.gone.append(session)
            gateway.follows.discard(session)
            gateway.pending = [item for item in gateway.pending if item.session != session]

    def leave_gateway(self, name: str) -> None:
        if name in self.gateways:
            self.unfollow(self.gateways.pop(name))

    # --- worker side -------------------------------------------------------------------------------------------------

    def poll(self, name: str, seen: int, held: list[int] | None, free: int, alone: bool) -> None:
        """G6: what the lost answer gave is free, what is named is renewed."""
        seat = self.seats.setdefault(name, Seat(self.clock.now()))
        seat.seen_at, seat.free, seat.alone = self.clock.now(), free, alone
        if seen < seat.answered:
            for number in seat.told:
                if number in self.leases:
                    self.free(number, blame=False)
            seat.cancels |= seat.told_cancels
        seat.told, seat.told_cancels = [], set()
        for number in held or ():
            if number in self.leases and self.leases[number].worker == name:
                self.leases[number].expires = self.clock.now() + self.limits.lease
            else:
                seat.lost.add(number)

    def answered(self, name: str, polled: Polled) -> None:
        """Its leases have been judged before, see `leased`."""
        seat = self.seats[name]
        cancels = {number for number in seat.cancels if number in self.leases}
        assert {cancelled.lease for cancelled in polled.cancelled} == cancels
        for cancelled in polled.cancelled:
            cancel_at = self.leases[cancelled.lease].cancel_at
            assert cancel_at is not None
            assert cancelled.age_ms == ms(self.clock.now() - cancel_at)
        assert set(polled.lost) == seat.lost
        seat.told, seat.told_cancels = [lease.number for lease in polled.leases], cancels
        seat.cancels, seat.lost, seat.answered, seat.seen_at = set(), set(), polled.number, self.clock.now()

    def leased(self, name: str, lease: Lease) -> None:
        """G3, G5, G6, G10: only what waits, in the right order, with the text as it stands."""
        seat, chat = self.seats[name], self.chats[lease.session]
        reply = chat.running
        assert reply is not None
        assert reply.waits
        assert lease.number not in self.leases
        assert seat.alone == reply.suspect
        assert seat.free > 0
        if not reply.again:
            fresh = [other for other in self.waiting if not other.again and other.chat.owner == chat.owner]
            assert reply.order == min(other.order for other in fresh)
            assert not any(other.again and not other.suspect for other in self.waiting)
        now = self.clock.now()
        reply.leased_at = now if reply.leased_at is None else reply.leased_at
        expected = (lease.number, chat.id, reply.generation, reply.attempt + 1, lease.nonce, reply.id, reply.request)
        stands = (reply.text, reply.tally, reply.visible)
        waited = (ms(now - reply.accepted_at), ms(reply.leased_at - reply.accepted_at))
        assert lease == Lease(*expected, *stands, *waited)
        assert lease.nonce != reply.nonce
        seat.free -= 1
        reply.attempt, reply.nonce, reply.next = lease.attempt, lease.nonce, 0
        reply.lease, reply.worker, reply.expires = lease.number, name, now + self.limits.lease
        reply.writes = lease.number
        self.leases[lease.number] = reply

    def append(self, flush: Flush) -> tuple[str, int]:
        """G2 to G5: ("", 0) where it is stored or was already; else why not, and the age of the cancel."""
        replies = [reply for chat in self.chats.values() for reply in chat.replies if reply.writes == flush.lease]
        if not flush.lease or not replies:
            return "fenced", 0
        (reply,) = replies
        chat = reply.chat
        same = (reply.generation, reply.attempt, flush.first, flush.count)
        if any((old.generation, old.attempt, old.first, old.count) == same for old in chat.log):
            return "", 0
        if not reply.lease or flush.first != reply.next:
            return "fenced", 0
        if reply.cancel_at is not None and not (flush.terminal and flush.count == 1):
            return "cancelled", ms(self.clock.now() - reply.cancel_at)
        alone = flush.terminal and flush.count == 1  # it ends the reply, as `length` would
        if not self.make_room(chat, len(flush.events)) and not alone:
            self.seats[reply.worker].lost.add(reply.lease)
            self.owe(reply, "length")
            return "fenced", 0
        if flush.terminal:
            self.seats[reply.worker].free += 1
        names = (chat.id, reply.generation, reply.attempt, reply.nonce, reply.id)
        events = (flush.first, flush.count, flush.flags, flush.events)
        self.file(reply, Item(*names, *events, len(chat.log)), flush.tally)
        return "", 0

    def make_room(self, chat: Chat, size: int) -> bool:
        """G10: ended replies go first."""
        while chat.bytes + size > self.limits.session_bytes:
            if chat.replies[0].ended_at is None:
                return False
            self.expire(chat.replies[0])
        return True

    def file(self, reply: Reply, item: Item, tally: Tally) -> None:
        """G2, G4: positions go up without a hole, and nothing follows a terminal."""
        chat = reply.chat
        if chat.log:
            before = chat.log[-1]
            assert item.cursor.position > before.cursor.position
            assert not (before.terminal and before.generation == item.generation)
        assert item.first == reply.next
        assert item.index == len(chat.log)
        chat.log.append(item)
        reply.next += item.count
        reply.tally = tally
        pieces = [event.text for event in decode_events(item.events) if isinstance(event, Delta)]
        reply.text = ("" if item.flags & Flag.RESTART else reply.text) + "".join(pieces)
        reply.visible = True
        if tally.pieces > reply.furthest:
            reply.furthest, reply.fruitful_attempt, reply.fruitless = tally.pieces, reply.attempt, 0
        for gateway in self.followers(chat):
            gateway.pending.append(item)
            if sum(len(item.events) for item in gateway.pending) > self.limits.undrained_bytes:
                self.unfollow(gateway)
        if item.terminal:
            self.settle(reply)
            reply.due = ""
            reply.ended_at = chat.idle_since = self.clock.now()

    def settle(self, reply: Reply) -> None:
        if reply.lease:
            del self.leases[reply.lease]
        reply.lease = 0

    def free(self, number: int, *, blame: bool, told: bool = False) -> None:
        """G3, G5, G6: the lease is over; is the reply?"""
        reply = self.leases[number]
        if not told:
            self.seats[reply.worker].lost.add(number)
        self.settle(reply)
        if reply.cancel_at is not None:
            self.owe(reply, "cancelled")
            return
        reply.crashes += blame
        reply.fruitless += blame and reply.fruitful_attempt != reply.attempt
        reply.again, reply.waits_since = True, self.clock.now()
        if reply.fruitless >= 3 or reply.crashes >= self.limits.max_attempts:
            self.owe(reply, "worker_lost")

    def owe(self, reply: Reply, due: str) -> None:
        """The broker must have made the terminal before anything else happens."""
        self.settle(reply)
        reply.due, reply.writes = due, 0
        reply.attempt, reply.nonce, reply.next = reply.attempt + 1, "", 0

    def release(self, leases: list[int]) -> None:
        for number in leases:
            if number in self.leases:
                self.free(number, blame=False, told=True)

    def renew(self, leases: list[int]) -> None:
        for number in leases:
            if number in self.leases:
                self.leases[number].expires = self.clock.now() + self.limits.lease
                self.seats[self.leases[number].worker].seen_at = self.clock.now()

    def leave_worker(self, name: str, *, blame: bool) -> None:
        for number in [number for number, reply in self.leases.items() if reply.worker == name]:
            self.free(number, blame=blame)
        self.seats.pop(name, None)

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """G5, G6, G10, G11. A pause of the broker is nobody's fault."""
        now = self.clock.now()
        pause, self.ticked_at = now - self.ticked_at, now
        if pause > self.limits.lease / 3:
            for reply in self.leases.values():
                reply.expires = now + self.limits.lease
        if pause > self.limits.silence / 3:
            peers: list[Seat | Gateway] = [*self.seats.values(), *self.gateways.values()]
            for peer in peers:
                peer.seen_at = now
        for number, reply in tuple(self.leases.items()):
            overdue = reply.cancel_at is not None and reply.cancel_at + self.limits.cancel_grace <= now
            if reply.expires <= now or overdue:
                self.free(number, blame=True)
        if now - self.swept_at >= 1.0:  # it looks no more often than that at what may wait
            self.swept_at = now
            self.sweep(now)

    def sweep(self, now: float) -> None:
        for reply in self.waiting:
            if reply.waits_since + self.limits.queue_timeout <= now:
                self.owe(reply, "expired")
        for chat in self.chats.values():
            for reply in tuple(chat.replies):
                if reply.ended_at is not None and reply.ended_at + self.limits.retention <= now:
                    self.expire(reply)
        silent = now - self.limits.silence
        for name in [name for name, gateway in self.gateways.items() if gateway.seen_at <= silent]:
            self.leave_gateway(name)
        busy = {reply.worker for reply in self.leases.values()}
        for name in [name for name, seat in self.seats.items() if seat.seen_at <= silent and name not in busy]:
            del self.seats[name]

    def expire(self, reply: Reply) -> None:
        chat = reply.chat
        chat.replies.remove(reply)
        gone = [item for item in chat.log[chat.kept :] if item.generation == reply.generation]
        assert gone == chat.log[chat.kept : chat.kept + len(gone)]
        chat.kept += len(gone)
        chat.floor = gone[-1].cursor

    # --- what the broker makes itself --------------------------------------------------------------------------------

    def made(self, item: Item) -> None:
        """G4: a terminal of the broker's own, owed, and true to what is stored."""
        chat = self.chats[item.session]
        reply = next(reply for reply in chat.replies if reply.generation == item.generation)
        assert reply.due
        assert (item.attempt, item.first, item.count, item.flags) == (reply.attempt, 0, 1, Flag.TERMINAL)
        assert item.id == reply.id
        assert decode_events(item.events) == [self.terminal(reply)]
        self.make_room(chat, len(item.events))
        reply.nonce = item.nonce
        self.file(reply, item, reply.tally)

    def terminal(self, reply: Reply) -> Done | Failed:
        if reply.due in ("worker_lost", "expired"):
            error = WorkerLost() if reply.due == "worker_lost" else Expired()
            return Failed(reply.due, error.message, error.retryable)
        now, tally = self.clock.now(), reply.tally
        first = now if reply.leased_at is None else reply.leased_at
        unknown = 0 if reply.leased_at is None else None
        timing = Timing(ms(first - reply.accepted_at), tally.first_token_ms, ms(now - reply.accepted_at))
        sha = hashlib.sha256(reply.text.encode()).hexdigest()
        usage = Usage(tally.prompt_tokens, tally.tokens, True)
        if reply.due == "length":
            return Done("length", usage, timing, sha)
        assert reply.due == "cancelled"
        return Done("cancelled", usage, timing, sha, Receipt(unknown, tally.pieces, unknown))
