"""A gateway process as the broker sees it: which sessions it is attached to and what it has not drained yet."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.messages import Batch, Item, Place

if TYPE_CHECKING:
    from shared.brokers.state.session import Session


class Subscriber:
    """`lost` is set where its next drain must say that the subscriptions are gone. `deserted` is called with a session
    that has just lost its last subscriber."""

    __slots__ = (
        "_deserted",
        "bytes",
        "drains",
        "gone",
        "items",
        "link",
        "lost",
        "name",
        "places",
        "seen_at",
        "sessions",
    )

    def __init__(self, name: str, now: float, deserted: Callable[["Session"], None]) -> None:
        self._deserted = deserted
        self.name = name
        self.link = -1
        self.seen_at = now
        self.sessions: dict[str, Session] = {}
        self.items: list[Item] = []
        self.bytes = 0
        self.places: dict[str, Place] = {}
        self.gone: list[str] = []
        self.lost = True
        self.drains = 0  # number of the newest drain

    def add(self, session: "Session") -> None:
        """Subscribe."""
        if session.id not in self.sessions:
            self.sessions[session.id] = session
            session.subscribers += (self,)

    def remove(self, session: "Session") -> None:
        """Unsubscribe; items of it that are not drained yet are still delivered."""
        if self.sessions.pop(session.id, None) is not None:
            self._leave(session)

    def forget(self, session: "Session") -> bool:
        """Unsubscribe, and deliver nothing more of it but that it is gone. Returns whether it was subscribed."""
        followed = session.id in self.sessions
        if followed:
            self.gone.append(session.id)
        self.remove(session)
        self.places.pop(session.id, None)
        self.items = [item for item in self.items if item.session != session.id]
        self.bytes = sum(len(item.events) for item in self.items)
        return followed

    def drop_all(self) -> None:
        """Lose every subscription and say so."""
        for session in self.sessions.values():
            self._leave(session)
        self.sessions.clear()
        self.items, self.bytes, self.places, self.gone, self.lost = [], 0, {}, [], True

    def _leave(self, session: "Session") -> None:
        session.subscribers = tuple(other for other in session.subscribers if other is not self)
        if not session.subscribers:
            self._deserted(session)

    def offer(self, item: Item) -> None:
        """Put an item into the next batch."""
        self.items.append(item)
        self.bytes += len(item.events)

    def batch(self, epoch: str, number: int, now: float) -> Batch | None:
        """What drain `number` gets; None while there is nothing. An outdated drain gets an empty one."""
        if number != self.drains:
            return Batch(epoch, False, [], [])
        if not (self.items or self.places or self.gone or self.lost):
            return None
        return self.batch_now(epoch, now)

    def batch_now(self, epoch: str, now: float) -> Batch:
        """What the newest drain gets, be there news or not."""
        batch = Batch(epoch, self.lost, self.items, list(self.places.values()), self.gone)
        self.items, self.bytes, self.places, self.gone, self.lost, self.seen_at = [], 0, {}, [], False, now
        return batch
