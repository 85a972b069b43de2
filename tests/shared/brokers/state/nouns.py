"""The nouns of the model: a reply, a session, a worker and a gateway as the contract knows them."""

from dataclasses import dataclass, field

from shared.messages import Cursor, Item, Page, Tally


@dataclass(eq=False)
class Reply:
    """A generation. `due`: the terminal that the broker owes it by now."""

    chat: "Chat"
    id: str
    generation: int
    request: bytes
    order: int  # of acceptance, over all sessions
    accepted_at: float
    waits_since: float
    attempt: int = 0
    nonce: str = ""
    next: int = 0
    tally: Tally = field(default_factory=Tally)
    text: str = ""
    visible: bool = False
    furthest: int = 0
    fruitful_attempt: int = 0
    fruitless: int = 0
    crashes: int = 0
    again: bool = False
    lease: int = 0
    writes: int = 0  # the newest lease, in force or not: what the broker takes its word from, until it ends it itself
    worker: str = ""
    expires: float = 0.0
    leased_at: float | None = None
    cancel_at: float | None = None
    due: str = ""
    ended_at: float | None = None

    @property
    def open(self) -> bool:
        return not self.due and self.ended_at is None

    @property
    def waits(self) -> bool:
        return self.open and not self.lease

    @property
    def suspect(self) -> bool:
        return self.fruitless == 2


@dataclass(eq=False)
class Chat:
    """A session. `log` holds every item ever stored, `kept` is the index of the first one that is still there."""

    id: str
    owner: str
    idle_since: float
    log: list[Item] = field(default_factory=list)
    kept: int = 0
    replies: list[Reply] = field(default_factory=list)  # those kept
    accepted: list[Reply] = field(default_factory=list)  # all of them
    early: list[str] = field(default_factory=list)
    last: int = 0
    floor: Cursor | None = None

    @property
    def running(self) -> Reply | None:
        return next((reply for reply in self.replies if reply.ended_at is None), None)

    @property
    def bytes(self) -> int:
        return sum(len(item.events) for item in self.log[self.kept :])

    def page(self, after: Cursor | None, limit: int) -> Page:
        """What `read` must answer."""
        start, recovered = self.kept, after is None or after == self.floor
        for item in self.log[self.kept :]:
            for seq in range(item.first, item.first + item.count):
                if after == (item.generation, item.attempt, seq, item.nonce):
                    start, recovered = item.index + (seq == item.first + item.count - 1), True
        items = self.log[start : start + 1]
        for item in self.log[start + 1 :]:
            if sum(len(taken.events) for taken in items) + len(item.events) > limit:
                break
            items.append(item)
        return Page(items, start + len(items) < len(self.log), recovered)


@dataclass(eq=False)
class Seat:
    """A worker: what it must be told, and what its last answer told it."""

    seen_at: float
    alone: bool = False
    free: int = 0
    answered: int = 0
    told: list[int] = field(default_factory=list)
    told_cancels: set[int] = field(default_factory=set)
    cancels: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)


@dataclass(eq=False)
class Gateway:
    """A gateway: what it must be brought, session by session."""

    seen_at: float
    link: int = -1
    lost: bool = True
    follows: set[str] = field(default_factory=set)
    pending: list[Item] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def drop(self) -> None:
        self.lost = True
        self.gone.clear()
        self.follows.clear()
        self.pending.clear()
