"""A worker process as the broker sees it: the leases it holds and what its next poll is to be told."""

from shared.brokers.state.reply import Reply
from shared.messages import Cancelled, Lease, Polled


class Held:
    """A lease in force: who holds which reply, until when (clock seconds)."""

    __slots__ = ("expires", "number", "reply", "seat")

    def __init__(self, number: int, reply: Reply, seat: "Seat", expires: float) -> None:
        self.number = number
        self.reply = reply
        self.seat = seat
        self.expires = expires


class Seat:
    """News gather here while no poll waits; `unseen` remembers the last answer until the next poll says that it
    arrived."""

    __slots__ = (
        "alone",
        "answered",
        "cancelled",
        "free",
        "held",
        "leases",
        "lost",
        "name",
        "parked",
        "polls",
        "seen_at",
        "unseen",
        "unseen_cancels",
    )

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.alone = False
        self.seen_at = now
        self.held: dict[int, Held] = {}
        self.parked = False  # a poll is waiting for an answer
        self.polls = 0  # number of the newest poll
        self.answered = 0  # number of the last answer
        self.free = 0  # slots, while a poll is waiting
        self.leases: list[Lease] = []
        self.cancelled: list[Held] = []
        self.lost: list[int] = []
        self.unseen: list[Lease] = []
        self.unseen_cancels: list[Held] = []

    def park(self, seen: int, free_slots: int, alone: bool, now: float) -> list[Held]:
        """A poll arrives. Returns the leases of a last answer that never did: they are to be freed."""
        self.polls = max(self.polls, seen) + 1
        self.parked, self.free, self.alone, self.seen_at = True, free_slots, alone, now
        stray: list[Held] = []
        if seen < self.answered:
            stray = [self.held[lease.number] for lease in self.unseen if lease.number in self.held]
            self.cancelled += self.unseen_cancels
        self.unseen, self.unseen_cancels = [], []
        return stray

    def answer(self, epoch: str, number: int, now: float) -> Polled | None:
        """The answer to poll `number`; None while there is nothing to tell it. An outdated poll gets an empty one."""
        if number != self.polls:
            return Polled(epoch, number, [], [], [])
        if not (self.leases or self.cancelled or self.lost):
            return None
        return self.answer_now(epoch, now)

    def answer_now(self, epoch: str, now: float) -> Polled:
        """The answer to the newest poll, be there news or not."""
        cancels = [held for held in self.cancelled if held.number in self.held]
        told = [Cancelled(held.number, round((now - (held.reply.cancel_at or now)) * 1000)) for held in cancels]
        polled = Polled(epoch, self.polls, self.leases, told, self.lost)
        self.unseen, self.unseen_cancels = self.leases, cancels
        self.leases, self.cancelled, self.lost = [], [], []
        self.parked, self.answered, self.seen_at = False, self.polls, now
        return polled

    def settle(self, held: Held) -> None:
        """The lease is over."""
        del self.held[held.number]
        if self.leases:
            self.leases = [lease for lease in self.leases if lease.number != held.number]
