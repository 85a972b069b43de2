"""JSON Web Tokens (RFC 7519) as bearers: `sub` is the owner, `exp` is required. Needs the extra `jwt`.

PyJWT verifies the signature; the claims are judged here, because the time is handed in.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jwt
import msgspec
from jwt.api_jws import PyJWS

from gateway.auth.jwt_keys import VerifyKey
from gateway.auth.keys import EXPIRED, NOT_GOOD
from gateway.auth.owner import is_owner
from gateway.caller import Caller
from shared.errors import NotAuthenticated

LEEWAY = 10.0  # seconds that the clocks of issuer and gateway may differ
_GARBAGE = (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError)


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    exp: float
    nbf: float | None = None
    iss: str | None = None
    aud: str | list[str] | None = None

    @property
    def audiences(self) -> list[str]:
        return [self.aud] if isinstance(self.aud, str) else self.aud or []


_claims = msgspec.json.Decoder(_Claims).decode


class TokenCheck(NamedTuple):
    """`keys` are asked for at each check: the files may have changed."""

    keys: Callable[[], Sequence[VerifyKey]]
    issuer: str | None = None
    audience: str | None = None

    def caller(self, token: str, now: float) -> Caller:
        """Whose token it is; `now` in wall seconds. Raises NotAuthenticated."""
        try:
            payload = self._payload(token)
            claims = None if payload is None else _claims(payload)
        except _GARBAGE:
            claims = None
        if claims is None:
            raise NotAuthenticated(NOT_GOOD)
        return self._judge(claims, now)

    def _payload(self, token: str) -> bytes | None:
        """What is signed, if it is by one of the keys and in one of that key's own ways."""
        header = jwt.get_unverified_header(token)
        algorithm, id = header.get("alg"), header.get("kid")
        for key in self.keys():
            if algorithm in key.algorithms and (id is None or key.id in (None, id)):
                payload = _verified(token, key)
                if payload is not None:
                    return payload
        return None

    def _judge(self, claims: _Claims, now: float) -> Caller:
        if claims.exp + LEEWAY <= now:
            raise NotAuthenticated(EXPIRED)
        if claims.nbf is not None and claims.nbf - LEEWAY > now:
            raise NotAuthenticated("The token is not good yet.")
        if self.issuer is not None and claims.iss != self.issuer:
            raise NotAuthenticated("The token is of another issuer.")
        if (self.audience is not None or claims.aud is not None) and self.audience not in claims.audiences:
            raise NotAuthenticated("The token is for another audience.")
        if not is_owner(claims.sub):
            raise NotAuthenticated(NOT_GOOD)
        return Caller(claims.sub, claims.exp + LEEWAY)


def _verified(token: str, key: VerifyKey) -> bytes | None:
    try:
        found: dict[str, Any] = PyJWS().decode_complete(token, key.key, list(key.algorithms))
    except jwt.InvalidSignatureError:
        return None
    payload: bytes = found["payload"]
    return payload
