"""Terminals of the broker's own."""

from shared.brokers.state import terminals
from shared.errors import WorkerLost
from shared.messages import Done, Failed, Flag, Receipt, Tally, Timing, Usage, decode_events, text_sha256
from tests.shared.brokers.state.builders import flush, reply, session


def test_it_is_true_to_what_was_stored() -> None:
    chat = session()
    made = reply(chat, now=10.0)
    made.leased_at = 11.0
    made.begin_attempt()
    chat.file(made, flush(made, 0, "häl", "lo"))
    made.tally = Tally(2, 3, 4, 5)
    timing = Timing(1000, 5, 2500)
    assert terminals.done(made, "length", 12.5) == Done("length", Usage(4, 3, True), timing, text_sha256("hällo"))
    cancelled = terminals.done(made, "cancelled", 12.5)
    assert cancelled.receipt == Receipt(None, 2, None)


def test_of_what_nobody_ran_everything_is_known() -> None:
    done = terminals.done(reply(session(), now=10.0), "cancelled", 10.25)
    assert done.receipt == Receipt(0, 0, 0)
    assert done.timing == Timing(250, None, 250)
    assert done.text_sha256 == text_sha256("")


def test_an_error_says_what_a_client_may_know() -> None:
    assert terminals.failed(WorkerLost()) == Failed("worker_lost", WorkerLost.sentence, True)


def test_the_item_is_an_attempt_of_its_own_above_all_others() -> None:
    chat = session()
    made = reply(chat)
    made.begin_attempt()
    made.tally = Tally(2, 3, 4, 5)
    nonce, made.next_seq = made.nonce, 5
    flushed = terminals.flush(made, terminals.failed(WorkerLost()))
    assert flushed.tally == made.tally
    stored = chat.file(made, flushed)
    assert (stored.attempt, stored.first, stored.count, stored.flags) == (2, 0, 1, Flag.TERMINAL)
    assert stored.nonce == made.nonce != nonce
    assert decode_events(stored.events) == [terminals.failed(WorkerLost())]
