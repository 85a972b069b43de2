"""A session as the broker sees it: who owns it, its replies, who is subscribed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.brokers.state.reply import Reply
from shared.messages import Cursor, Flush, Item, Page

if TYPE_CHECKING:
    from shared.brokers.state.subscriber import Subscriber


class Session:
    """At most one reply is open (`running`, be it queued or held); ended ones are kept for a while. `replies` has them
    by the ids of their messages, oldest first."""

    __slots__ = (
        "bytes",
        "early_cancels",
        "ended",
        "floor",
        "id",
        "last",
        "model",
        "newest",
        "owner",
        "replies",
        "running",
        "subscribers",
        "system",
        "touched_at",
    )

    def __init__(self, id: str, owner: str, system: str | None, model: str | None, now: float) -> None:
        self.id = id
        self.owner = owner
        self.system = system
        self.model = model
        self.replies: dict[str, Reply] = {}
        self.running: Reply | None = None
        self.last = 0  # the newest generation, or a floor beyond it: what the next one must be above
        self.ended = 0  # the newest one that has its terminal
        self.newest = -1  # index of the last item
        self.floor: Cursor | None = None  # the last event that expiry removed
        self.bytes = 0
        self.early_cancels: tuple[str, ...] = ()  # both are short and mostly empty, and there is one per idle session
        self.subscribers: tuple[Subscriber, ...] = ()
        self.touched_at = now

    def add(self, reply: Reply) -> None:
        """Take in a new reply as the one that is open."""
        self.replies[reply.id] = reply
        self.running = reply
        self.last = reply.generation

    def file(self, reply: Reply, flush: Flush) -> Item:
        """Store it as the next item."""
        self.newest = index = self.newest + 1
        events = flush.events
        item = Item(
            self.id,
            reply.generation,
            reply.attempt,
            reply.nonce,
            reply.id,
            flush.first,
            flush.count,
            flush.flags,
            events,
            index,
        )
        reply.items.append(item)
        size = len(events)
        reply.bytes += size
        self.bytes += size
        return item

    def expire(self, reply: Reply) -> None:
        """Drop an ended reply; its last event becomes the floor."""
        del self.replies[reply.id]
        self.bytes -= reply.bytes
        if reply.items:
            self.floor = reply.items[-1].cursor

    def oldest_ended(self) -> Reply | None:
        """The kept reply that goes first when room is needed."""
        oldest = next(iter(self.replies.values()), None)
        return oldest if oldest is not None and oldest is not self.running else None

    def event_before(self, reply: Reply) -> Cursor | None:
        """The last event before the reply's first, of what is kept; failing that, the floor."""
        before = self.floor
        for other in self.replies.values():
            if other is reply:
                break
            before = other.items[-1].cursor if other.items else before
        return before

    def page(self, after: Cursor | None, limit: int) -> Page:
        """The items behind `after`, at most `limit` bytes of them but at least one."""
        items: list[Item] = []
        size = 0
        start = self._start(after)
        for item in self._from(start or (0, 0)):
            size += len(item.events)
            if items and size > limit:
                return Page(items, more=True, recovered=start is not None)
            items.append(item)
        return Page(items, more=False, recovered=start is not None)

    def _start(self, after: Cursor | None) -> tuple[int, int] | None:
        """(generation, place in its items) where reading begins; None where events behind `after` are gone."""
        if after is None or after == self.floor:
            return (0, 0)
        newest_first = reversed(self.replies.values())
        reply = next((reply for reply in newest_first if reply.generation <= after.generation), None)
        at = reply.behind(after) if reply is not None and reply.generation == after.generation else None
        return None if at is None else (after.generation, at)

    def _from(self, start: tuple[int, int]) -> Iterator[Item]:
        generation, at = start
        for reply in self.replies.values():
            if reply.generation > generation:
                yield from reply.items
            elif reply.generation == generation:
                yield from reply.items[at:]
