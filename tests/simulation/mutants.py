"""Services that are broken on purpose, each in one way: what the simulation must notice, and by which promise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple
from unittest.mock import patch

from gateway import stops
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.line import Line
from gateway.outbox import Outbox
from gateway.paging import Paging
from shared.brokers.state import BrokerState
from shared.brokers.state.lifecycle import Lifecycle
from shared.brokers.state.reply import Reply
from shared.brokers.state.seat import Held, Seat
from shared.brokers.state.subscriber import Subscriber
from shared.errors import UnknownId
from shared.messages import Batch, Flush, Item, Refusal

SOMETIMES = 5  # what is done wrong every so many times

right_append, right_free, right_lease = Lifecycle.append, Lifecycle.free, Lifecycle._lease
right_offer, right_write, right_deliver = Subscriber.offer, Outbox.write, Hub.deliver


class Mutant(NamedTuple):
    """`promises`: one of these must be said to be broken within so many `seeds`."""

    name: str
    breaking: Callable[[], Iterator[None]]
    promises: set[str]
    seeds: int

    @contextmanager
    def broken(self) -> Iterator[None]:
        """For as long as this lasts."""
        yield from self.breaking()


def no_fence() -> Iterator[None]:
    """G3: whoever had a lease once may write as if he still had it, in the attempt that it was for."""
    given: dict[tuple[Lifecycle, int], tuple[Reply, int, str]] = {}

    def lease(self: Lifecycle, reply: Reply, seat: Seat) -> None:
        right_lease(self, reply, seat)
        given[self, reply.lease] = reply, reply.attempt, reply.nonce

    def append(self: Lifecycle, flush: Flush, place: int) -> Refusal | None:
        refusal = right_append(self, flush, place)
        if refusal is None or refusal.reason != "fenced" or (self, flush.lease) not in given:
            return refusal
        reply, attempt, nonce = given[self, flush.lease]
        if reply.session.replies.get(reply.id) is not reply:
            return refusal
        kept = reply.attempt, reply.nonce
        reply.attempt, reply.nonce = attempt, nonce
        self._file(reply, flush)
        reply.attempt, reply.nonce = kept
        return None

    with patch.object(Lifecycle, "_lease", lease), patch.object(Lifecycle, "append", append):
        yield


def dropped_and_not_healed() -> Iterator[None]:
    """G8: an item is missing in a batch, and nobody looks at the numbers."""
    numbers = count(1)

    def offer(self: Subscriber, item: Item) -> None:
        if next(numbers) % SOMETIMES:
            right_offer(self, item)

    def take_any(self: Outbox, item: Item) -> bool:
        if item.index >= self.next_index and self.live:
            self.write(item)
        return True

    with (
        patch.object(Subscriber, "offer", offer),
        patch.object(Outbox, "offer", take_any),
        patch.object(Paging, "close_gaps", lambda self, session: None),
    ):
        yield


def stored_twice() -> Iterator[None]:
    """G3: an append whose answer was lost is stored again when it is repeated."""

    def append(self: Lifecycle, flush: Flush, place: int) -> Refusal | None:
        reply = self.written.get(flush.lease)
        if reply is not None and reply.held is not None and reply.holds(flush.first, flush.count):
            self._file(reply, flush)
        return right_append(self, flush, place)

    with patch.object(Lifecycle, "append", append):
        yield


def crossed() -> Iterator[None]:
    """Rule 3: now and then an item reaches the readers of another session, too."""
    numbers = count(1)

    def deliver(self: Hub, batch: Batch) -> None:
        right_deliver(self, batch)
        for item in batch.items:
            others = [other for id, other in self._sessions.items() if id != item.session and other.connections]
            if item.session in self._sessions and others and next(numbers) % SOMETIMES == 0:
                others[0].connections[0].outbox.write(item)

    with patch.object(Hub, "deliver", deliver):
        yield


def lost_terminal() -> Iterator[None]:
    """Rule 1: now and then the end of a reply is not shown."""
    numbers = count(1)

    def write(self: Outbox, item: Item) -> None:
        if item.terminal and next(numbers) % SOMETIMES == 0:
            self.next_index = item.index + 1
        else:
            right_write(self, item)

    with patch.object(Outbox, "write", write):
        yield


def nobody_takes_over() -> Iterator[None]:
    """G1: what a worker took with it into its grave stays there."""

    def free(self: Lifecycle, held: Held, *, blame: bool, told: bool = False) -> None:
        if blame and held.reply.cancel_at is None:
            self._settle(held)
        else:
            right_free(self, held, blame=blame, told=told)

    with patch.object(Lifecycle, "free", free):
        yield


def silent_about_a_new_epoch() -> Iterator[None]:
    """G9: the hub forgets what the broker has forgotten, and says nothing."""

    def see_epoch(self: Hub, epoch: str) -> None:
        known, self._epoch = self._epoch, epoch
        if known and known != epoch:
            for session in self._sessions.values():
                session.forget()
                for connection in session.connections:
                    connection.outbox.begin(None, 0)

    with patch.object(Hub, "_see_epoch", see_epoch):
        yield


def deaf_to_cancels() -> Iterator[None]:
    """G5: a cancel is accepted, and nothing comes of it."""
    with patch.object(BrokerState, "cancel", lambda self, session, id: id in self._session(session).replies):
        yield


def line_that_forgets_cancels() -> Iterator[None]:
    """Rule 4: what was stopped in the line is left to the broker's memory alone."""
    with patch.object(Line, "stop", Line.holds):
        yield


def line_that_is_unknown() -> Iterator[None]:
    """A broker that knows nothing is believed, even about what waits in the line."""

    def refuse(connection: Connection, stop: stops.Stop) -> None:
        stops._refuse(connection, stop.id, UnknownId())

    with patch.object(stops, "_refuse_unknown", refuse):
        yield


MUTANTS = [
    Mutant("fencing switched off", no_fence, {"order"}, 100),
    Mutant("a dropped item that is not healed", dropped_and_not_healed, {"gap"}, 10),
    Mutant("a doubled append", stored_twice, {"twice"}, 120),
    Mutant("a crossed session", crossed, {"crossed"}, 10),
    Mutant("a lost terminal", lost_terminal, {"hang", "gap"}, 20),
    Mutant("a reply that dies with its worker", nobody_takes_over, {"hang"}, 20),
    Mutant("a cancel without effect", deaf_to_cancels, {"cancel"}, 200),
    Mutant("a hub that does not tell a new epoch", silent_about_a_new_epoch, {"hang"}, 150),
    Mutant("a line that forgets what was cancelled", line_that_forgets_cancels, {"cancel"}, 400),
    Mutant("a line that a new broker does not know", line_that_is_unknown, {"cancel"}, 50),
]
