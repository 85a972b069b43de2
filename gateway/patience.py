"""How long the gateway bears with clients that do not read, or neither ask for anything nor get anything."""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.connection import Connection
from gateway.outbox import Outbox

TOO_SLOW = 4408


class Patience(NamedTuple):
    """Seconds; 0 is for ever."""

    send: float = 30.0  # for a socket without room
    idle: float = 0.0  # for a client that sends nothing and expects nothing

    def try_blocked(self, blocked: dict[Outbox, None], now: float) -> None:
        """Close readers that stay slow; forget those that read again."""
        for outbox in tuple(blocked):
            if outbox.blocked_at is None:
                del blocked[outbox]
            elif now - outbox.blocked_at >= self.send > 0:
                del blocked[outbox]  # once is enough, and it may be that of a connection that has gone
                outbox.writer.close(TOO_SLOW, "reader too slow")

    def try_idle(self, connections: Iterable[Connection], now: float) -> None:
        """Close clients that stay silent, where that is asked for."""
        if self.idle > 0:
            for connection in tuple(connections):
                if now - _last_traffic(connection) >= self.idle and _is_idle(connection):
                    connection.close(TOO_SLOW, "idle too long")


def _is_idle(connection: Connection) -> bool:
    return connection.session is None or not connection.session.line.running


def _last_traffic(connection: Connection) -> float:
    session = connection.session
    return connection.active_at if session is None else max(connection.active_at, session.heard_at)
