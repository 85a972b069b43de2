import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.tickets import LIFETIME, Tickets
from gateway.caller import NOBODY, Caller
from shared.errors import NotAuthenticated

TICKETS = Tickets(b"a secret")
ANN = Caller("Ann Müller", 5_000.0, "0123456789ab")
TICKET = TICKETS.make(ANN, "epoch", 1000.0)


def refused(text: str, now: float = 1000.0, tickets: Tickets = TICKETS) -> None:
    with pytest.raises(NotAuthenticated):
        tickets.read(text, now)


@pytest.mark.parametrize("caller", [ANN, NOBODY, Caller("bob"), Caller("a" * 255, 1000.1)])
def test_any_process_that_has_the_secret_reads_it(caller: Caller) -> None:
    ticket = Tickets(b"a secret").read(TICKETS.make(caller, "epoch", 1000.0), 1000.0)
    assert (ticket.caller, ticket.epoch) == (caller, "epoch")


def test_no_two_are_the_same() -> None:
    assert len({TICKETS.read(TICKETS.make(ANN, "", 0.0), 0.0).id for _ in range(100)}) == 100


def test_it_may_be_a_subprotocol() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", TICKET)


def test_it_is_good_for_half_a_minute() -> None:
    assert LIFETIME == 30
    assert TICKETS.read(TICKET, 1029.9).caller == ANN
    refused(TICKET, 1030.0)


def test_it_is_good_for_no_longer_than_the_key_that_it_was_made_with() -> None:
    ticket = TICKETS.make(Caller("ann", 1010.0), "", 1000.0)
    assert TICKETS.read(ticket, 1009.9)
    refused(ticket, 1010.0)


def test_another_secret_does_not_read_it() -> None:
    refused(TICKET, tickets=Tickets(b"another secret"))


def test_what_is_signed_is_all_of_it() -> None:
    payload, signature = TICKET.split(".")
    for place in range(0, len(payload), 7):
        refused(payload[:place] + ("A" if payload[place] != "A" else "B") + payload[place + 1 :] + "." + signature)
    refused(payload)
    refused(payload + ".")
    refused(payload[:-4] + "." + signature)
    bob = base64.urlsafe_b64encode(b'["x","bob",null,"",9e9,""]').rstrip(b"=").decode()
    refused(f"{bob}.{signature}")


@given(st.text(st.characters(exclude_categories=())) | st.from_regex(r"\A[\w-]*\.[\w.-]*\Z"))
def test_garbage_is_refused_and_nothing_else(text: str) -> None:
    refused(text)
