"""Mutations of the broker's state machine. See mutations.py."""

import functools
from collections.abc import Callable
from itertools import count
from typing import Any

Struck = Callable[[], None]


def no_fence(module: Any, struck: Struck) -> None:
    """An append by an attempt that lost its lease is filed like any other."""
    life = module.Lifecycle
    lease, append = life._lease, life.append
    given: dict[int, tuple[Any, int, str]] = {}

    def remembered(self: Any, reply: Any, seat: Any) -> None:
        lease(self, reply, seat)
        given[reply.lease] = reply, reply.attempt, reply.nonce

    def unfenced(self: Any, flush: Any, place: int) -> Any:
        reply, attempt, nonce = given.get(flush.lease, (None, 0, ""))
        if reply is None or nonce == reply.nonce or reply.ended_at is not None:
            return append(self, flush, place)
        struck()
        kept = reply.attempt, reply.nonce, reply.next_seq, reply.tally
        reply.attempt, reply.nonce = attempt, nonce
        self._file(reply, flush)
        reply.attempt, reply.nonce, reply.next_seq, reply.tally = kept
        return None

    life._lease, life.append = remembered, unfenced


def doubled_append(module: Any, struck: Struck) -> None:
    """Now and then a flush is filed twice, as if a repetition were not known as one."""
    life = module.Lifecycle
    file = life._file
    turn = count(1)

    def twice(self: Any, reply: Any, flush: Any) -> None:
        file(self, reply, flush)
        if not flush.terminal and flush.first and next(turn) % 3 == 0:
            struck()
            file(self, reply, flush)

    life._file = twice


def twice_run(module: Any, struck: Struck) -> None:
    """The id of an ended reply is forgotten: the same message again runs again."""
    state = module.BrokerState
    submit = state.submit

    @functools.wraps(submit)  # calls are decoded by its signature
    def forgetful(self: Any, submission: Any) -> Any:
        session = self._session(submission.session)
        reply = session.replies.get(submission.id)
        if reply is not None and reply.ended_at is not None:
            struck()
            reply.id = f"{submission.id} before"
            session.replies = {other.id: other for other in session.replies.values()}
        return submit(self, submission)

    state.submit = forgetful


def leaked_lease(module: Any, struck: Struck) -> None:
    """A lease stays on the books although its reply has ended."""
    life = module.Lifecycle
    settle = life._settle

    def settle_badly(self: Any, held: Any) -> None:
        settle(self, held)
        struck()
        self.held[-held.number] = Leaked()

    life._settle = settle_badly


class Leaked:
    """A lease that never ends."""

    @property
    def expires(self) -> float:
        """Clock seconds."""
        return float("inf")

    @expires.setter
    def expires(self, moment: float) -> None:
        """Whatever it is told."""


LIFECYCLE = "shared.brokers.state.lifecycle"
MUTATIONS: dict[str, tuple[str, Callable[[Any, Struck], None]]] = {
    "no_fence": (LIFECYCLE, no_fence),
    "doubled_append": (LIFECYCLE, doubled_append),
    "leaked_lease": (LIFECYCLE, leaked_lease),
    "twice_run": ("shared.brokers.state.machine", twice_run),
}
