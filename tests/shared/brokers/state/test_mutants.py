"""The model must be able to fail: each of these brokers is broken on purpose, and it has to notice."""

from collections.abc import Callable

import pytest
from hypothesis import Phase
from msgspec.structs import replace

from shared.brokers.state.lifecycle import Lifecycle
from shared.brokers.state.machine import BrokerState
from shared.brokers.state.reply import Reply
from shared.brokers.state.seat import Held, Seat
from shared.brokers.state.subscriber import Subscriber
from shared.messages import Flush, Refusal
from tests.shared.brokers.state.test_model import BrokerMachine, check

Break = Callable[[pytest.MonkeyPatch], None]
right_append, right_free, right_lease = Lifecycle.append, Lifecycle.free, Lifecycle._lease
right_end, right_cancel = Lifecycle._end, BrokerState.cancel


def any_attempt_may_write(patch: pytest.MonkeyPatch) -> None:
    """G3, of a zombie whose heir is at work."""

    given: dict[int, Reply] = {}

    def lease(self: Lifecycle, reply: Reply, seat: Seat) -> None:
        right_lease(self, reply, seat)
        given[reply.lease] = reply

    def append(self: Lifecycle, flush: Flush, place: int) -> Refusal | None:
        reply = given.get(flush.lease)
        return right_append(self, flush if reply is None else replace(flush, lease=reply.lease), place)

    patch.setattr(Lifecycle, "_lease", lease)
    patch.setattr(Lifecycle, "append", append)


def freeing_is_no_fence(patch: pytest.MonkeyPatch) -> None:
    """G3, of a zombie that has no heir yet."""

    def append(self: Lifecycle, flush: Flush, place: int) -> Refusal | None:
        reply = self.written.get(flush.lease)
        if reply is not None and reply.held is None and reply.ended_at is None and flush.first == reply.next_seq:
            self._file(reply, flush)
            return None
        return right_append(self, flush, place)

    patch.setattr(Lifecycle, "append", append)


def repeats_are_stored(patch: pytest.MonkeyPatch) -> None:
    """G3."""

    def append(self: Lifecycle, flush: Flush, place: int) -> Refusal | None:
        reply = self.written.get(flush.lease)
        if reply is not None and reply.held is not None and reply.holds(flush.first, flush.count):
            self._file(reply, flush)
        return right_append(self, flush, place)

    patch.setattr(Lifecycle, "append", append)


def a_terminal_is_not_the_end(patch: pytest.MonkeyPatch) -> None:
    """G4."""

    def append(self: Lifecycle, flush: Flush, place: int) -> Refusal | None:
        reply = self.written.get(flush.lease)
        if reply is not None and reply.ended_at is not None and flush.first == reply.next_seq:
            self._file(reply, flush)
            return None
        return right_append(self, flush, place)

    patch.setattr(Lifecycle, "append", append)


def a_repeated_terminal_is_unknown(patch: pytest.MonkeyPatch) -> None:
    """G3, of a worker that never heard that its last words were stored."""

    def end(self: Lifecycle, reply: Reply) -> None:
        right_end(self, reply)
        self.written.pop(reply.lease, None)

    patch.setattr(Lifecycle, "_end", end)


def early_cancels_are_dropped(patch: pytest.MonkeyPatch) -> None:
    """G5."""

    def cancel(self: BrokerState, session: str, id: str) -> bool:
        known = right_cancel(self, session, id)
        self._session(session).early_cancels = ()
        return known

    patch.setattr(BrokerState, "cancel", cancel)


def takeovers_follow_cancels(patch: pytest.MonkeyPatch) -> None:
    """G5."""

    def free(self: Lifecycle, held: Held, *, blame: bool, told: bool = False) -> None:
        held.reply.cancel_at = None
        right_free(self, held, blame=blame, told=told)

    patch.setattr(Lifecycle, "free", free)


def a_pause_is_the_workers_fault(patch: pytest.MonkeyPatch) -> None:
    """G6."""
    patch.setattr(BrokerState, "_forgive_pause", lambda self, now: None)


def batches_are_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """G8."""
    patch.setattr(Subscriber, "offer", lambda self, item: self.items.insert(0, item))


def news_wake_nobody(patch: pytest.MonkeyPatch) -> None:
    """What the wrapper relies on."""
    patch.setattr(BrokerState, "take_wake", lambda self: set())


BREAKS: list[Break] = [
    any_attempt_may_write,
    freeing_is_no_fence,
    repeats_are_stored,
    a_terminal_is_not_the_end,
    a_repeated_terminal_is_unknown,
    early_cancels_are_dropped,
    takeovers_follow_cancels,
    a_pause_is_the_workers_fault,
    batches_are_out_of_order,
    news_wake_nobody,
]


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda break_it: break_it.__name__)
def test_the_model_notices(break_it: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    with pytest.raises(AssertionError):
        check(BrokerMachine, 300, 50, phases=(Phase.generate,))
