"""What is on its way to one connection, and how far its reader is.

Live, it writes what is drained: only the successor of what it wrote last. Behind (a gap, or a socket that does not
empty) it holds nothing: its hub reads from the broker by position, a page whenever the socket has room, until it has
caught up.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.dialect import Dialect
from shared.messages import Cursor, Item

# Bytes that the socket may leave unsent. A writer has the same number as its high-water mark, so that its connection's
# `on_drained` is sure to follow. Each reader that does not read costs that much, with a piece or a page on top.
ROOM = 8 << 10
_NOTHING: list[bytes] = []  # of all that have nothing to write; never changed
_NOWHERE = Cursor(0, 0, 0, "")


class Writer(Protocol):
    """The socket's side: never waits."""

    def send(self, payloads: list[bytes]) -> None:
        """Send text frames with these payloads, in one write. A closed socket swallows them."""
        ...

    @property
    def full(self) -> bool:
        """Whether the kernel has yet to take more than ROOM bytes."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        ...


class Outbox:
    """`next_index` is that of the item to be written next; `live` whether drained items may be written as they come."""

    __slots__ = (
        "_attempt",
        "_dialect",
        "_generation",
        "_payloads",
        "_touch",
        "blocked_at",
        "last_seq",
        "live",
        "next_index",
        "nonce",
        "reading",
        "writer",
    )

    def __init__(self, dialect: Dialect, writer: Writer, touch: Callable[["Outbox"], None]) -> None:
        self.writer = writer
        self._dialect = dialect
        self._touch = touch  # asks for a flush soon
        self._payloads = _NOTHING
        self._generation = self._attempt = self.last_seq = 0  # of the last event that was written,
        self.nonce = ""  # as is this; empty: there is none
        self.next_index = 0
        self.live = False
        self.reading = False  # a page is on its way
        self.blocked_at: float | None = None  # clock seconds since which the socket has had no room

    @property
    def after(self) -> Cursor | None:
        """The last event that was written."""
        return Cursor(self._generation, self._attempt, self.last_seq, self.nonce) if self.nonce else None

    def begin(self, after: Cursor | None, next_index: int) -> None:
        """Set the position; also after a loss."""
        self._generation, self._attempt, self.last_seq, self.nonce = after or _NOWHERE
        self.next_index = next_index

    def follow(self, item: Item) -> bool:
        """The short way of the commonest item: more pieces of the attempt that was written last, as `first` tells where
        there is no gap. False: it is another one, or has to wait."""
        index = self.next_index
        if item.index != index or item.flags or not item.first or not self.live:
            return False
        self.next_index = index + 1
        self.last_seq = item.first + item.count - 1
        payloads = self._dialect.events(item, 0)
        if payloads:
            self.put(payloads)
        return True

    def offer(self, item: Item) -> bool:
        """A drained item. False: there is a gap before it."""
        if not self.live or item.index < self.next_index:
            return True
        if item.index > self.next_index:
            self.live = False
            return False
        self.write(item)
        return True

    def write(self, item: Item) -> None:
        """Render an item, without what the reader has of it already, and go on behind it."""
        skip = self._overlap(item) if item.nonce == self.nonce else 0
        self._generation, self._attempt, self.nonce = item.generation, item.attempt, item.nonce
        self.last_seq = item.first + item.count - 1
        self.next_index = item.index + 1
        payloads = self._dialect.events(item, skip)
        if payloads:
            self.put(payloads)

    def put(self, payloads: list[bytes]) -> None:
        """Add frames to the next write."""
        if self._payloads:
            self._payloads += payloads
        elif payloads:
            self._payloads = payloads
            self._touch(self)

    def flush(self, now: float) -> bool:
        """One write. False: the socket has no room for more; then the outbox is not live until it has."""
        payloads, writer = self._payloads, self.writer
        if payloads:
            self._payloads = _NOTHING
            writer.send(payloads)
        if not writer.full:
            return True
        self.live = False
        self.blocked_at = now if self.blocked_at is None else self.blocked_at
        return False

    def _overlap(self, item: Item) -> int:
        """How many of its events were written, or had come to the reader before."""
        if item.generation != self._generation or item.attempt != self._attempt:
            return 0
        return max(0, min(item.count, self.last_seq - item.first + 1))
