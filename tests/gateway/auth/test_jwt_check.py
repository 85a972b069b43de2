import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.jwt_check import LEEWAY, TokenCheck
from gateway.auth.jwt_keys import parse_key, parse_set
from gateway.caller import Caller
from shared.errors import NotAuthenticated
from tests.gateway.auth.tokens import NOW, PRIVATE, RSA, SECRET, entry, key_file, key_set, pem, token


def check(data: bytes = SECRET, issuer: str | None = None, audience: str | None = None) -> TokenCheck:
    keys = parse_set(data) if data.startswith(b"{") else parse_key(data)
    return TokenCheck(lambda: keys, issuer, audience)


def refused(checking: TokenCheck, text: str, now: float = NOW) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        checking.caller(text, now)
    return caught.value.message


# --- signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_by_a_key_file_and_by_a_set(algorithm: str) -> None:
    ann = Caller("ann", NOW + 60 + LEEWAY)
    assert check(key_file(algorithm)).caller(token(algorithm), NOW) == ann
    keys = check(key_set(entry("ES384", kid="x"), entry(algorithm, kid="k")))
    assert keys.caller(token(algorithm, kid="k"), NOW) == ann
    assert keys.caller(token(algorithm), NOW) == ann


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_what_is_not_signed_is_not_taken(algorithm: str) -> None:
    head, payload, signature = token(algorithm).split(".")
    forged = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged["sub"] = "bob"
    other = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    refused(check(key_file(algorithm)), f"{head}.{other}.{signature}")
    refused(check(key_file(algorithm)), f"{head}.{payload}.")
    refused(check(key_file(algorithm)), f"{head}.{payload}.{signature[:-8]}AAAAAAAA")


def test_another_key_of_the_same_kind_is_not_enough() -> None:
    refused(check(), token(key=b"x" * 64))
    refused(check(key_file("ES256")), token("ES256", key=ec.generate_private_key(ec.SECP256R1())))
    refused(check(key_file("RS256")), token("RS256", key=rsa.generate_private_key(65537, 2048)))


def test_a_set_may_have_several_keys_of_one_kind_and_a_token_names_one() -> None:
    secrets = {name: name.encode() * 64 for name in "ab"}
    entries = [{"kty": "oct", "kid": name, "k": base64.urlsafe_b64encode(s).decode()} for name, s in secrets.items()]
    keys = check(key_set(*entries))
    assert keys.caller(token("HS256", kid="b", key=secrets["b"]), NOW).owner == "ann"
    assert keys.caller(token("HS256", key=secrets["b"]), NOW).owner == "ann"
    refused(keys, token("HS256", kid="a", key=secrets["b"]))
    refused(keys, token("HS256", kid="c", key=secrets["b"]))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def by_hand(header: object, key: bytes, digest: Any = hashlib.sha256) -> str:
    """An HMAC as anybody can make it, with whatever header."""
    signed = f"{part(header)}.{part({'sub': 'ann', 'exp': NOW + 60})}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), digest)).rstrip(b'=').decode()}"


def test_a_public_key_is_no_secret() -> None:
    assert check().caller(by_hand({"alg": "HS256"}, SECRET), NOW).owner == "ann"  # so the forgery is well made
    for public in (pem(RSA), pem(RSA).strip(), json.dumps(entry("RS256")).encode()):
        forged = by_hand({"alg": "HS256"}, public)
        refused(check(key_file("RS256")), forged)
        refused(check(key_set(entry("RS256", kid="k"), entry("HS512"))), forged)


@pytest.mark.parametrize("alg", ["none", "None", "", None, 5, ["HS256"], {"a": 1}, "HS1", "RS256", "hs256"])
def test_no_other_algorithm_will_do(alg: object) -> None:
    for key in (SECRET, b""):
        refused(check(), by_hand({"alg": alg}, key))
    refused(check(), by_hand({"alg": alg}, b"").rpartition(".")[0] + ".")
    refused(check(), by_hand({}, SECRET))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": 5},
        {"kid": ["a"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"jwk": entry("RS256"), "alg": "RS256"},
        {"jku": "http://localhost/keys", "alg": "RS256"},
    ],
)
def test_a_header_that_wants_more_than_we_do(header: dict[str, Any]) -> None:
    refused(check(), by_hand({"alg": "HS256", **header}, SECRET))


def test_without_keys_nobody_gets_in() -> None:
    refused(TokenCheck(lambda: ()), token())


# --- claims ---------------------------------------------------------------------------------------------------------


def test_the_end_of_a_token_has_a_little_leeway() -> None:
    for now in (NOW + 60, NOW + 60 + LEEWAY - 0.1):
        assert check().caller(token(), now).expires_at == NOW + 60 + LEEWAY
    assert "expired" in refused(check(), token(), NOW + 60 + LEEWAY)


def test_so_has_its_beginning() -> None:
    early = token(nbf=NOW + LEEWAY)
    assert check().caller(early, NOW).owner == "ann"
    assert "not good yet" in refused(check(), early, NOW - 0.1)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": [1]},
        {"exp": str(NOW + 60)},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "a" * 256},
        {"nbf": "now"},
        {"aud": 5},
        {"aud": {"a": "b"}},
        {"aud": "others"},
        {"aud": ["others"]},
    ],
)
def test_claims_that_are_not_as_they_must_be(claims: dict[str, Any]) -> None:
    payload = {name: value for name, value in {"sub": "ann", "exp": NOW + 60, **claims}.items() if value is not None}
    refused(check(), jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256"))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"5", b"null", b"\xff", b"{", b'{"sub":"ann","exp":1e999}', b"[" * 9999]
)
def test_signed_garbage_is_garbage(payload: bytes) -> None:
    refused(check(), jwt.api_jws.encode(payload, SECRET, "HS256"))


@pytest.mark.parametrize("sub", [5, True, ["ann"], {"a": 1}])
def test_an_owner_is_text(sub: object) -> None:
    payload = json.dumps({"sub": sub, "exp": NOW + 60}).encode()
    refused(check(), jwt.api_jws.encode(payload, SECRET, "HS256"))


def test_issuer_and_audience_where_they_are_configured() -> None:
    picky = check(issuer="https://id.example", audience="chat")
    good: dict[str, Any] = {"iss": "https://id.example", "aud": "chat"}
    assert picky.caller(token(**good), NOW).owner == "ann"
    assert picky.caller(token(**{**good, "aud": ["other", "chat"]}), NOW).owner == "ann"
    wrongs: list[dict[str, Any]] = [{"iss": None}, {"iss": "https://id.example/"}, {"aud": None}, {"aud": []}]
    for wrong in (*wrongs, {"aud": "chats"}):
        refused(picky, token(**{**good, **wrong}))


def test_a_token_for_others_is_not_for_us() -> None:
    assert "audience" in refused(check(), token(aud="others"))  # RFC 7519, 4.1.3
    assert check().caller(token(iss="anybody"), NOW).owner == "ann"


# --- garbage --------------------------------------------------------------------------------------------------------

DEEP = base64.urlsafe_b64encode(b"[" * 5000).decode()


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b.c", f"{DEEP}.{DEEP}.{DEEP}", "é.é.é", "\ud800..", "=.=.="])
def test_what_is_no_token(text: str) -> None:
    refused(check(), text)


anything = st.text(st.characters(exclude_categories=()))
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["HS256", "RS256", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("alg"), inner, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "x"]), jsons) | jsons


@given(anything | st.from_regex(r"\A[\w-]*\.[\w-]*\.[\w-]*\Z"))
def test_garbage_is_refused_and_nothing_else(text: str) -> None:
    for key in (SECRET, key_file("RS256"), key_file("ES256")):
        refused(check(key), text)


@given(headers, jsons, st.binary(max_size=40))
def test_so_is_what_looks_like_a_token(header: object, payload: object, signature: bytes) -> None:
    text = f"{part(header)}.{part(payload)}.{base64.urlsafe_b64encode(signature).decode()}"
    for key in (SECRET, key_file("RS256"), key_file("ES256"), key_file("EdDSA")):
        refused(check(key), text)


@given(jsons | st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iss", "aud"]), jsons))
def test_whatever_is_signed_is_judged(payload: object) -> None:
    text = jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256")
    try:
        caller = check().caller(text, NOW)
    except NotAuthenticated:
        return
    assert isinstance(payload, dict)
    assert caller.owner == payload["sub"] != ""
    assert payload["exp"] + LEEWAY > NOW
