"""One-time tickets, for browsers: they cannot send headers with a WebSocket, and a key has no place in a URL.

A ticket is the caller that it was made for, signed with a secret that all gateway processes share, so that any of them
takes it. That it is used once only is the broker's to say.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from gateway.auth.keys import EXPIRED, NOT_GOOD
from gateway.caller import Caller
from shared.errors import NotAuthenticated

LIFETIME = 30.0  # seconds
_PURPOSE = b"llm-chat ticket 1"


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """`caller_*`: whom it lets in. `until`: wall seconds. `epoch`: that of the broker which knows whether it is spent;
    `id` is what it is known by there."""

    id: str
    owner: str
    caller_expires_at: float | None
    key: str
    until: float
    epoch: str

    @property
    def caller(self) -> Caller:
        """Who comes with it."""
        return Caller(self.owner, self.caller_expires_at, self.key)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Ticket).decode


class Tickets:
    """Makes and reads them. `secret` is only what their key is derived from."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, _PURPOSE, hashlib.sha256)

    def make(self, caller: Caller, epoch: str, now: float) -> str:
        """One for this caller; `now` in wall seconds."""
        until = now + LIFETIME
        ticket = Ticket(secrets.token_hex(16), caller.owner, caller.expires_at, caller.key, until, epoch)
        payload = _pack(_encode(ticket))
        return f"{payload}.{self._sign(payload)}"

    def read(self, text: str, now: float) -> Ticket:
        """What it says, if it was made here and is not too old. Raises NotAuthenticated."""
        payload, _, signature = text.partition(".")
        if not text.isascii() or not hmac.compare_digest(signature, self._sign(payload)):
            raise NotAuthenticated(NOT_GOOD)
        ticket = _decode(_unpack(payload))
        ends = [ticket.until] if ticket.caller_expires_at is None else [ticket.until, ticket.caller_expires_at]
        if min(ends) <= now:
            raise NotAuthenticated(EXPIRED)
        return ticket

    def _sign(self, payload: str) -> str:
        return _pack(hmac.digest(self._key, payload.encode(), hashlib.sha256))


def _pack(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpack(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
