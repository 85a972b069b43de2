"""Sessions that are deleted: the broker is to forget them, however long it is away, and their readers are told."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from shared.answer import then
from shared.broker import GatewayBroker
from shared.errors import BrokerUnavailable, ChatError, SessionNotFound

if TYPE_CHECKING:
    from gateway.live import LiveSession

AGAIN = 0.5  # seconds between an answer that did not come, for which the link has waited long, and the next try
NORMAL = 1000
GONE = SessionNotFound("This session has been deleted, or has expired.")


class Deletions:
    """Those that the broker has not confirmed."""

    def __init__(self, broker: GatewayBroker) -> None:
        self._broker = broker
        self._due: dict[str, asyncio.TimerHandle | None] = {}

    def forget(self, session: str) -> "asyncio.Future[None]":
        """Have the broker forget the session. The answer may be BrokerUnavailable: then it is tried on."""
        self._due.setdefault(session, None)
        answer = self._broker.forget(session)
        then(answer, lambda _: self._end(session), partial(self._failed, session))
        return answer

    def close(self) -> None:
        """Try no more: this process ends."""
        for session in list(self._due):
            self._end(session)

    def _failed(self, session: str, error: ChatError) -> None:
        if not isinstance(error, BrokerUnavailable):
            self._end(session)
        elif session in self._due and self._due[session] is None:
            self._due[session] = asyncio.get_running_loop().call_later(AGAIN, self._again, session)

    def _again(self, session: str) -> None:
        self._due[session] = None
        self.forget(session)

    def _end(self, session: str) -> None:
        timer = self._due.pop(session, None)
        if timer is not None:
            timer.cancel()


def tell(session: "LiveSession") -> None:
    """Say to every connection of a session that it is gone, and end it; what waits in the line has nowhere to go."""
    session.line.clear()
    session.line.reset()
    for connection in tuple(session.connections):
        connection.outbox.put(connection.dialect.refused(None, GONE))
        connection.close(NORMAL, "session deleted")
