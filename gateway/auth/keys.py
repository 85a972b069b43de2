"""API keys: 256 random bits and the number of their record, which holds only their digest.

A plain SHA-256 is enough for that: slow hashes are for secrets that people choose. Nobody finds 256 random bits by
trying, however fast, and a fast hash costs an upgrade nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

import msgspec

from gateway.caller import Caller
from shared.errors import NotAuthenticated

_FORM = re.compile(r"lck_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_DIGEST = "0" * 64
NOT_GOOD = "The key or token is not good here."
EXPIRED = "The key or token has expired."


class ApiKey(msgspec.Struct, frozen=True):
    """What is kept of a key. Times are seconds since 1970; None: never. `sha256` is that of the whole key, in hex."""

    id: str
    owner: str
    sha256: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


def make_key(owner: str, now: float, expires_at: float | None = None) -> tuple[ApiKey, str]:
    """A new record and the key itself, which nobody can show again."""
    id = secrets.token_hex(6)
    key = f"lck_{id}_{secrets.token_urlsafe(32)}"
    return ApiKey(id, owner, digest(key), now, expires_at), key


def digest(key: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def is_key(text: str) -> bool:
    """Whether it has the form of an API key."""
    return _FORM.fullmatch(text) is not None


class KeyRing:
    """The keys that are good, but for their expiry."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = {key.id: key for key in keys if key.revoked_at is None}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, id: object) -> bool:
        return id in self._keys

    def caller(self, text: str, now: float) -> Caller:
        """Whose key it is; `now` in wall seconds. Raises NotAuthenticated."""
        match = _FORM.fullmatch(text)
        key = None if match is None else self._keys.get(match[1])
        same = hmac.compare_digest(digest(text), _NO_DIGEST if key is None else key.sha256)
        if key is None or not same:
            raise NotAuthenticated(NOT_GOOD)
        if key.expires_at is not None and key.expires_at <= now:
            raise NotAuthenticated(EXPIRED)
        return Caller(key.owner, key.expires_at, key.id)
