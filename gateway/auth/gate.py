"""Where what callers show becomes who they are."""

import secrets
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.auth.credentials import Credentials
from gateway.auth.keys import NOT_GOOD, KeyRing, is_key
from gateway.auth.tickets import LIFETIME, Tickets
from gateway.caller import Caller
from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.errors import NotAuthenticated

# Seconds that the broker remembers a spent ticket: longer than it is good, because the clocks of the gateways' machines
# may differ.
REMEMBER = 2 * LIFETIME


class Gate(Protocol):
    """Lets callers in. Where there is none (None), everybody is let in, whatever they show."""

    async def admit(self, credentials: Credentials) -> Caller:
        """Who it is. Raises NotAuthenticated, and what `GatewayBroker.spend` fails with."""
        ...

    async def ticket(self, caller: Caller) -> str:
        """A one-time ticket for somebody who was let in. Raises BrokerUnavailable."""
        ...


class Bearers(Protocol):
    """One kind of bearer."""

    def caller(self, text: str, now: float) -> Caller:
        """Whose it is; `now` in wall seconds. Raises NotAuthenticated."""
        ...


class Checks(NamedTuple):
    """What needs no broker. `tokens` is None where JSON Web Tokens are not configured."""

    ring: Callable[[], KeyRing]
    tokens: Bearers | None
    tickets: Tickets

    def bearer(self, text: str, now: float) -> Caller:
        """Whose bearer it is. Raises NotAuthenticated."""
        if is_key(text):
            return self.ring().caller(text, now)
        if self.tokens is None:
            raise NotAuthenticated(NOT_GOOD)
        return self.tokens.caller(text, now)


class GuardedGate:
    """Only who has something good to show."""

    def __init__(self, checks: Checks, broker: GatewayBroker, clock: Clock) -> None:
        self._checks = checks
        self._broker = broker
        self._clock = clock

    async def admit(self, credentials: Credentials) -> Caller:
        """See Gate."""
        if credentials.bearer is not None:
            return self._checks.bearer(credentials.bearer, self._now())
        if credentials.ticket is not None:
            return await self._spend(credentials.ticket)
        raise NotAuthenticated

    async def ticket(self, caller: Caller) -> str:
        """See Gate."""
        stats = await self._broker.stats()
        return self._checks.tickets.make(caller, stats.epoch, self._now())

    async def _spend(self, text: str) -> Caller:
        ticket = self._checks.tickets.read(text, self._now())
        first = await self._broker.spend(ticket.id, secrets.token_hex(8), ticket.epoch, REMEMBER)
        if not first or (ticket.key and ticket.key not in self._checks.ring()):
            raise NotAuthenticated(NOT_GOOD)
        return ticket.caller

    def _now(self) -> float:
        return self._clock.wall_ms() / 1000
