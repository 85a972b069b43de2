"""Cancels on their way to the broker: one without an answer is sent again until it has one, be its sender here or not.

What somebody wants stopped must not run on because a message was lost, or because nobody waited for the answer.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from shared.answer import then
from shared.broker import GatewayBroker
from shared.errors import BrokerUnavailable, ChatError, SessionNotFound, UnknownId

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.live import LiveSession

AGAIN = 0.5  # seconds between an answer that did not come, for which the link has waited long, and the next try
STILL_TRYING = "The message queue cannot be reached; the reply is stopped as soon as it can be."


class Stop(NamedTuple):
    """What is to be stopped. `known`: we have seen the message, be it in our line, of which the broker may know
    nothing yet, or running."""

    session: str
    id: str
    known: bool


class Stops:
    """Those under way."""

    def __init__(self, broker: GatewayBroker) -> None:
        self._broker = broker
        self._kept: dict[Stop, asyncio.TimerHandle | None] = {}  # those that are sent until they have an answer

    def send(self, connection: "Connection", session: "LiveSession", id: str) -> None:
        """Cancel a reply of the connection's session, wherever it is. Only one that we know of is worth repeating, and
        for one in the line the cancel goes once more before its submit."""
        stop = Stop(session.id, id, session.line.stop(id) or id in session.open)
        if stop.known:
            self._kept.setdefault(stop, None)
        self._try(stop, connection)

    def forget(self) -> None:
        """Repeat none of them: the broker has lost its memory, or we end."""
        for timer in self._kept.values():
            if timer is not None:
                timer.cancel()
        self._kept.clear()

    def _try(self, stop: Stop, connection: "Connection | None") -> None:
        answer = self._broker.cancel(stop.session, stop.id)
        then(answer, partial(self._answered, stop, connection), partial(self._failed, stop, connection))

    def _answered(self, stop: Stop, connection: "Connection | None", seen: bool) -> None:
        self._end(stop)
        if connection is not None and not seen:
            _refuse_unknown(connection, stop)

    def _failed(self, stop: Stop, connection: "Connection | None", error: ChatError) -> None:
        """Whoever sent it is told once."""
        if isinstance(error, BrokerUnavailable) and stop in self._kept:
            error = BrokerUnavailable(STILL_TRYING)
            if self._kept[stop] is None:
                self._kept[stop] = asyncio.get_running_loop().call_later(AGAIN, self._again, stop)
        else:
            self._end(stop)
        if connection is not None and isinstance(error, SessionNotFound):
            _refuse_unknown(connection, stop)
        elif connection is not None:
            _refuse(connection, stop.id, error)

    def _again(self, stop: Stop) -> None:
        self._kept[stop] = None
        self._try(stop, None)

    def _end(self, stop: Stop) -> None:
        timer = self._kept.pop(stop, None)
        if timer is not None:
            timer.cancel()


def _refuse_unknown(connection: "Connection", stop: Stop) -> None:
    """Not where we know better than a broker that has lost its memory: what waits here is submitted and ended, and of
    what ran its readers are told that it is lost."""
    if not stop.known:
        _refuse(connection, stop.id, UnknownId())


def _refuse(connection: "Connection", id: str, error: ChatError) -> None:
    connection.outbox.put(connection.dialect.refused(id, error))
