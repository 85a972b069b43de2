"""Small things to build the parts of a broker's state from."""

from collections.abc import Sequence

from shared.brokers.state import BrokerState, Limits
from shared.brokers.state.reply import Reply
from shared.brokers.state.session import Session
from shared.messages import Accepted, Batch, Delta, Flag, Flush, Item, Lease, Polled, Submission, Tally, encode_events
from tests.conftest import FakeClock


def session(id: str = "s", owner: str = "ann", now: float = 0.0) -> Session:
    return Session(id, owner, None, None, now)


def reply(chat: Session, generation: int = 1, id: str | None = None, now: float = 0.0) -> Reply:
    """One that its session knows."""
    made = Reply(chat, generation, id or f"m{generation}", b"request", now)
    chat.add(made)
    return made


def flush(of: Reply | Lease, first: int, *texts: str, end: bool = False, pieces: int | None = None) -> Flush:
    """One delta per text, and a placeholder for the terminal."""
    count = len(texts) + end
    tally = Tally(first + len(texts) if pieces is None else pieces)
    events = encode_events([Delta(text) for text in texts])
    flags = int(Flag.TERMINAL) if end else 0
    return Flush(of.lease if isinstance(of, Reply) else of.number, first, count, flags, tally, events)


class Desk:
    """A BrokerState under a clock, with one worker and one gateway to talk to it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = FakeClock()
        self.limits = limits or Limits()
        self.state = BrokerState(self.clock, self.limits)
        self.seen = dict.fromkeys(("w", "w2", "alone"), 0)

    def submit(self, session: str = "s", id: str = "m1", owner: str = "ann", floor: int = 0) -> Accepted:
        self.state.open(session, owner, None, None)
        return self.state.submit(Submission(session, id, floor, b"request"))

    def poll(self, worker: str = "w", free: int = 1, held: Sequence[int] | None = None) -> Polled:
        """Asked and answered at once."""
        number = self.state.poll(worker, self.seen[worker], held, free, worker == "alone")
        polled = self.state.polled(worker, number, final=True)
        assert polled is not None
        self.seen[worker] = polled.number
        return polled

    def lease(self, worker: str = "w") -> Lease:
        (lease,) = self.poll(worker).leases
        return lease

    def drain(self, gateway: str = "g", link: int = 1) -> Batch:
        batch = self.state.batch(gateway, self.state.drain(gateway, link), final=True)
        assert batch is not None
        return batch

    def items(self, session: str = "s") -> list[Item]:
        return self.state.read(session, None, 1 << 30).items

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """The broker serves all the while."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.state.tick()
