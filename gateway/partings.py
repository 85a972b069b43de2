"""Ends of subscriptions. One that did not reach the broker, because it was away for long, is asked for again: it would
keep the session there for ever."""

from collections.abc import Container

from shared.answer import then
from shared.broker import GatewayBroker
from shared.errors import ChatError


class Partings:
    """`due`: sessions that may still be subscribed, though nobody here wants them."""

    __slots__ = ("_broker", "due")

    def __init__(self, broker: GatewayBroker) -> None:
        self.due: dict[str, None] = {}
        self._broker = broker

    def detach(self, session: str) -> None:
        """End a subscription."""

        def failed(error: ChatError) -> None:
            self.due[session] = None

        then(self._broker.detach(session), lambda _: None, failed)

    def repeat(self, wanted: Container[str]) -> None:
        """The broker is there: end what is due, but for sessions that are wanted again."""
        if not self.due:
            return
        due, self.due = self.due, {}
        for session in due:
            if session not in wanted:
                self.detach(session)
