import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import NOT_GOOD, KeyRing, digest, is_key, make_key
from gateway.auth.owner import is_owner
from gateway.caller import Caller
from shared.errors import NotAuthenticated

RECORD, KEY = make_key("ann", 1000.0)
RING = KeyRing([RECORD])


def refused(ring: KeyRing, text: str, now: float = 1000.0) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        ring.caller(text, now)
    return caught.value.message


def test_a_key_is_its_owner() -> None:
    assert RING.caller(KEY, 1000.0) == Caller("ann", None, RECORD.id)


def test_keys_are_all_different_and_may_be_a_subprotocol() -> None:
    made = [make_key("ann", 0.0)[1] for _ in range(100)]
    assert len({key[-43:] for key in made}) == 100
    assert all(is_key(key) and re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in made)


def test_what_is_kept_does_not_tell_the_key() -> None:
    assert KEY[-43:] not in repr(RECORD)
    assert RECORD.sha256 == digest(KEY)


@pytest.mark.parametrize("place", [0, 4, 10, 16, 17, 40, len(KEY) - 1])
def test_one_character_is_enough_to_be_another_key(place: int) -> None:
    other = "0" if KEY[place] != "0" else "1"
    refused(RING, KEY[:place] + other + KEY[place + 1 :])


def test_a_key_under_the_number_of_another_is_none() -> None:
    other, other_key = make_key("bob", 0.0)
    refused(KeyRing([RECORD, other]), f"lck_{RECORD.id}_{other_key[-43:]}")


def test_a_key_ends_when_it_expires() -> None:
    record, key = make_key("ann", 1000.0, 1060.0)
    ring = KeyRing([record])
    assert ring.caller(key, 1059.9) == Caller("ann", 1060.0, record.id)
    assert "expired" in refused(ring, key, 1060.0)


def test_that_a_key_has_expired_is_told_only_to_who_has_it() -> None:
    record, key = make_key("ann", 1000.0, 1060.0)
    assert "expired" not in refused(KeyRing([record]), key[:-1] + ("A" if key[-1] != "A" else "B"), 2000.0)


def test_a_revoked_key_is_no_key() -> None:
    ring = KeyRing([msgspec.structs.replace(RECORD, revoked_at=1001.0)])
    assert refused(ring, KEY) == refused(KeyRing(), KEY)
    assert RECORD.id not in ring
    assert RECORD.id in RING


@given(st.text() | st.from_regex(r"\Alck_[0-9a-f]{12}_.{40,45}\Z"))
def test_garbage_is_refused_and_nothing_else(text: str) -> None:
    assert refused(RING, text) == NOT_GOOD


@given(st.text(st.characters(exclude_categories=())))
def test_so_is_what_is_no_text_at_all(text: str) -> None:
    assert refused(RING, text) == NOT_GOOD


@pytest.mark.parametrize("name", ["", "a\nb", "\x00", "a" * 256, "\u2028", "\ud800"])
def test_names_that_cannot_be_an_owner(name: str) -> None:
    assert not is_owner(name)


@pytest.mark.parametrize("name", ["ann", "auth0|5f7c", "Ann Müller", "a" * 255])
def test_names_that_can(name: str) -> None:
    assert is_owner(name)
