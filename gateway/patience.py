"""How long the gateway bears with clients that do not read, that neither ask for anything nor get anything, or whose
right to be here has ended."""

from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from gateway.connection import Connection
from gateway.outbox import Outbox
from shared.clock import Clock
from shared.errors import NotAuthenticated

NOT_AUTHENTICATED = 4401
TOO_SLOW = 4408
NO_MORE = "The key or token is not good any more."


class Patience(NamedTuple):
    """Seconds; 0 is for ever."""

    send: float = 30.0  # for a socket without room
    idle: float = 0.0  # for a client that sends nothing and expects nothing
    keys: Callable[[], Container[str]] | None = None  # ids of the API keys that are good now; None: they do not matter

    def sweep(self, blocked: dict[Outbox, None], connections: Iterable[Connection], clock: Clock) -> None:
        """All of it, once."""
        now = clock.now()
        self.try_blocked(blocked, now)
        self.try_idle(connections, now)
        self.try_rights(connections, clock.wall_ms() / 1000)

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

    def try_rights(self, connections: Iterable[Connection], wall: float) -> None:
        """Close clients whose key or token has expired (wall seconds) or is revoked."""
        if self.keys is None:
            return
        good = self.keys()
        for connection in tuple(connections):
            _, expires_at, key = connection.caller
            if (expires_at is not None and expires_at <= wall) or (key and key not in good):
                connection.outbox.put(connection.dialect.farewell(NotAuthenticated(NO_MORE)))
                connection.close(NOT_AUTHENTICATED, "the key or token is not good any more")


def _is_idle(connection: Connection) -> bool:
    return connection.session is None or not connection.session.line.running


def _last_traffic(connection: Connection) -> float:
    session = connection.session
    return connection.active_at if session is None else max(connection.active_at, session.heard_at)
