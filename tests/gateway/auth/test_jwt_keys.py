import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.auth.jwt_keys import parse_key, parse_set
from tests.gateway.auth.tokens import EC, RSA, SECRET, entry, key_file, key_set, pem, private_pem

ALL_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@pytest.mark.parametrize(
    ("data", "algorithms"),
    [
        (SECRET, ("HS256", "HS384", "HS512")),
        (SECRET[:48], ("HS256", "HS384")),
        (SECRET[:32] + b"\n", ("HS256",)),
        (key_file("RS256"), ALL_RSA),
        (key_file("ES256"), ("ES256",)),
        (key_file("ES384"), ("ES384",)),
        (b"\n" + key_file("EdDSA"), ("EdDSA",)),
    ],
)
def test_what_a_key_is_used_for_follows_from_what_it_is(data: bytes, algorithms: tuple[str, ...]) -> None:
    (key,) = parse_key(data)
    assert key.algorithms == algorithms


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "32 bytes"),
        (SECRET[:31], "32 bytes"),
        (private_pem(RSA), "private key"),
        (private_pem(EC), "private key"),
        (pem(rsa.generate_private_key(65537, 1024)), "2048 bits"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "not used"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "neither"),
        (b"ssh-rsa " + b"A" * 100, "neither"),
        (key_set(entry("RS256")), "neither"),
    ],
)
def test_what_is_no_key_for_tokens_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_key(data)
    assert data.decode()[:20] not in str(caught.value) or not data


def test_a_set() -> None:
    found = parse_set(
        key_set(
            entry("HS256", kid="h", alg="HS384"),
            entry("RS256", kid="r", use="sig"),
            entry("RS256", kid="for encryption", use="enc"),
            {"kty": "of the future"},
            entry("ES256"),
            entry("EdDSA", kid="e"),
        )
    )
    assert [(key.id, key.algorithms) for key in found] == [
        ("h", ("HS384",)),
        ("r", ALL_RSA),
        (None, ("ES256",)),
        ("e", ("EdDSA",)),
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a JSON Web Key Set"),
        (b"\xff", "not a JSON Web Key Set"),
        (b"[" * 100_000, "not a JSON Web Key Set"),
        (b'{"keys": [1]}', "not a JSON Web Key Set"),
        (b"{}", "not a JSON Web Key Set"),
        (key_set(), "has 0"),
        (key_set(*[entry("ES256")] * 65), "has 65"),
        (key_set({**entry("RS256"), "d": "AQAB"}), "private key"),
        (key_set({**entry("RS256"), "kid": 1}), "string"),
        (key_set({"kty": "RSA", "kid": "k"}), "'k' is damaged"),
        (key_set({"kty": "oct", "k": 5}), "damaged"),
        (key_set({**entry("ES256"), "x": "AAAA"}), "damaged"),
        (key_set(entry("RS256", alg="HS256")), "cannot be used with HS256"),
        (key_set({"kty": "oct", "k": "AAAA"}), "32 bytes"),
    ],
)
def test_a_set_that_cannot_be_used(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_set(data)
