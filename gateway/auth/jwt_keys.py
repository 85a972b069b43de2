"""The keys that JSON Web Tokens are verified by, from a PEM file, a file with a secret, or a JSON Web Key Set.

Which algorithms a key may be used with follows from what it is, never from what a token says: a public key is no
secret that an HMAC could be made with. Needs the extra `jwt`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

MOST_KEYS = 64  # in a set: a token that names none is tried with each
SMALLEST_RSA = 2048  # bits (RFC 7518, 3.3)
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes that the secret must have at least (RFC 7518, 3.2)
_KINDS: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm, "oct": HMACAlgorithm}


class VerifyKey(NamedTuple):
    """`id` is what tokens may name it by."""

    key: Any
    algorithms: tuple[str, ...]
    id: str | None = None


def parse_key(data: bytes) -> tuple[VerifyKey, ...]:
    """The key in such a file: a PEM public key, or else the bytes are the secret, but for white space around them.
    Raises ValueError."""
    text = data.strip()
    if not text.startswith((b"-----BEGIN", b"ssh-", b"ecdsa-", b"{")):
        return (VerifyKey(text, _algorithms(text)),)
    if b"PRIVATE KEY" in text:
        raise ValueError("this is a private key; the gateway needs only the public one")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("this is neither a PEM public key nor a secret") from None
    return (VerifyKey(key, _algorithms(key)),)


def parse_set(data: bytes) -> tuple[VerifyKey, ...]:
    """The keys of a set (RFC 7517). Those of kinds that are not known, or for other uses, are passed over. Raises
    ValueError."""
    try:
        entries = msgspec.json.decode(data, type=dict[str, list[dict[str, Any]]])["keys"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        raise ValueError("this is not a JSON Web Key Set") from None
    usable = [entry for entry in entries if entry.get("kty") in _KINDS and entry.get("use", "sig") == "sig"]
    if not usable or len(usable) > MOST_KEYS:
        raise ValueError(f"a JSON Web Key Set has 1 to {MOST_KEYS} keys for signatures; this one has {len(usable)}")
    return tuple(_of_entry(entry) for entry in usable)


def _of_entry(entry: Mapping[str, Any]) -> VerifyKey:
    id, only = entry.get("kid"), entry.get("alg")
    if id is not None and not isinstance(id, str):
        raise ValueError("a key's kid is a string")
    if "d" in entry:
        raise ValueError("this set has a private key; the gateway needs only public ones")
    try:
        key = _KINDS[entry["kty"]].from_jwk(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise ValueError(f"the key {id!r} is damaged") from None
    algorithms = tuple(name for name in _algorithms(key) if only in (None, name))
    if not algorithms:
        raise ValueError(f"the key {id!r} cannot be used with {only}")
    return VerifyKey(key, algorithms, id)


def _algorithms(key: object) -> tuple[str, ...]:
    """Raises ValueError where there are none, or the key is too weak for them."""
    found: tuple[str, ...] = ()
    if isinstance(key, bytes):
        found = tuple(name for name, least in _HMAC.items() if len(key) >= least)
        if not found:
            raise ValueError("a secret has at least 32 bytes")
    elif isinstance(key, RSAPublicKey):
        found = _RSA
        if key.key_size < SMALLEST_RSA:
            raise ValueError(f"an RSA key has at least {SMALLEST_RSA} bits")
    elif isinstance(key, EllipticCurvePublicKey):
        found = _CURVES.get(key.curve.name, ())
    elif isinstance(key, Ed25519PublicKey):
        found = ("EdDSA",)
    if not found:
        raise ValueError("this kind of key is not used for tokens here")
    return found
