"""Keys and tokens for tests."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = 1_700_000_000.0
SECRET = b"a secret of sixty-four bytes, which is enough for all three of them."[:64]
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
EC_384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), SECRET),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256"), RSA),
    "ES256": EC,
    "ES384": EC_384,
    "EdDSA": ED,
}


def pem(private: Any) -> bytes:
    """Its public key."""
    found: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


def private_pem(private: Any) -> bytes:
    """The private key itself."""
    found: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found


def key_file(algorithm: str) -> bytes:
    """The file that verifies it."""
    private = PRIVATE[algorithm]
    return private if isinstance(private, bytes) else pem(private)


def entry(algorithm: str, **more: Any) -> dict[str, Any]:
    """The same as an entry of a key set."""
    kinds: dict[str, Any] = {"H": HMACAlgorithm, "R": RSAAlgorithm, "P": RSAAlgorithm, "E": ECAlgorithm}
    kind: Any = OKPAlgorithm if algorithm == "EdDSA" else kinds[algorithm[0]]
    private = PRIVATE[algorithm]
    found: dict[str, Any] = json.loads(kind.to_jwk(private if isinstance(private, bytes) else private.public_key()))
    return {**found, **more}


def key_set(*entries: dict[str, Any]) -> bytes:
    """The file."""
    return json.dumps({"keys": entries}).encode()


def token(algorithm: str = "HS256", kid: str | None = None, key: Any = None, **claims: Any) -> str:
    """Ann's, good for a minute, but for what is said of its claims (None: without)."""
    whole = {"sub": "ann", "exp": NOW + 60, **claims}
    headers = None if kid is None else {"kid": kid}
    given = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(given, key or PRIVATE[algorithm], algorithm, headers)
