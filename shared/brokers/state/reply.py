"""A generation as the broker sees it: where it stands, who may write it, and the items it has so far."""

import random
from bisect import bisect_right
from typing import TYPE_CHECKING

from shared.messages import Cursor, Item, Tally, text_of

if TYPE_CHECKING:
    from shared.brokers.state.seat import Held
    from shared.brokers.state.session import Session


def _order(item: Item) -> tuple[int, int]:
    return (item.attempt, item.first)


class Reply:
    """One generation and what has been stored of it. It is queued, held by a worker, or ended."""

    __slots__ = (
        "accepted_at",
        "attempt",
        "bytes",
        "cancel_at",
        "crashes",
        "ended_at",
        "fruitful",
        "fruitless",
        "furthest",
        "generation",
        "held",
        "id",
        "items",
        "lease",
        "leased_at",
        "next_seq",
        "nonce",
        "note",
        "queued_at",
        "request",
        "session",
        "tally",
        "told_place",
    )

    def __init__(
        self, session: "Session", generation: int, id: str, request: bytes, now: float, note: bytes = b""
    ) -> None:
        self.session = session
        self.generation = generation
        self.id = id
        self.request = request
        self.note = note
        self.items: list[Item] = []
        self.bytes = 0
        self.attempt = 0
        self.nonce = ""
        self.next_seq = 0
        self.tally = Tally()
        self.furthest = 0  # pieces that any attempt reached
        self.fruitful = False  # whether this attempt went beyond it
        self.fruitless = 0  # attempts in a row that ended in a crash and added nothing beyond the furthest piece
        self.crashes = 0
        self.held: Held | None = None
        self.lease = 0  # number of the newest one, in force or not
        self.accepted_at = now
        self.queued_at = now
        self.leased_at: float | None = None  # the first time
        self.cancel_at: float | None = None
        self.ended_at: float | None = None
        self.told_place = -1

    def begin_attempt(self) -> None:
        """From here on only the new attempt may write."""
        self.attempt += 1
        self.nonce = f"{random.getrandbits(32):08x}"  # no secret: it only tells one memory's attempts from another's
        self.next_seq = 0
        self.fruitful = False

    def holds(self, first: int, count: int) -> bool:
        """Whether exactly this item of the newest attempt is stored."""
        at = bisect_right(self.items, (self.attempt, first), key=_order) - 1
        return at >= 0 and _order(self.items[at]) == (self.attempt, first) and self.items[at].count == count

    def behind(self, after: Cursor) -> int | None:
        """The index in `items` of the first one with an event behind `after`; None where `after` is not stored here."""
        at = bisect_right(self.items, (after.attempt, after.seq), key=_order) - 1
        if at < 0:
            return None
        item = self.items[at]
        if (item.attempt, item.nonce) != (after.attempt, after.nonce) or after.seq >= item.first + item.count:
            return None
        return at if after.seq < item.first + item.count - 1 else at + 1

    @property
    def weight(self) -> int:
        """Bytes of memory that the stored items take, roughly, with what is kept beside them."""
        return sum(item.weight for item in self.items) + self.kept_beside

    @property
    def kept_beside(self) -> int:
        """Bytes of the note, and of the request that is kept with it."""
        return len(self.note) + len(self.request) if self.note else 0

    def text(self) -> str:
        """The reply as a reader holds it. Slow: it decodes everything; for takeovers and terminals of the broker
        only."""
        return text_of(self.items)

    def since_accepted_ms(self, moment: float) -> int:
        """Milliseconds from acceptance to `moment`."""
        return round((moment - self.accepted_at) * 1000)
