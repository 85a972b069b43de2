"""Positions within a generation."""

from shared.messages import Cursor, Flag, Flush, Takeover, Tally, encode_events
from tests.shared.brokers.state.builders import flush, reply, session


def test_every_attempt_has_a_nonce_of_its_own_and_counts_from_zero() -> None:
    made = reply(session())
    made.begin_attempt()
    first, made.next_seq = made.nonce, 7
    made.begin_attempt()
    assert (made.attempt, made.next_seq) == (2, 0)
    assert made.nonce != first
    assert len(made.nonce) == 8


def test_it_holds_exactly_the_items_of_its_newest_attempt() -> None:
    chat = session()
    made = reply(chat)
    made.begin_attempt()
    chat.file(made, flush(made, 0, "a", "b"))
    chat.file(made, flush(made, 2, "c"))
    assert made.holds(0, 2)
    assert made.holds(2, 1)
    assert not any(made.holds(*wrong) for wrong in ((0, 1), (0, 3), (1, 1), (1, 2), (2, 2), (3, 1)))
    made.begin_attempt()
    assert not made.holds(0, 2)


def test_behind_an_event_stands_the_next_or_the_rest_of_its_item() -> None:
    chat = session()
    made = reply(chat)
    made.begin_attempt()
    chat.file(made, flush(made, 0, "a", "b"))
    chat.file(made, flush(made, 2, "c"))
    old = made.nonce
    made.begin_attempt()
    chat.file(made, flush(made, 0, "d"))

    def behind(attempt: int, seq: int, nonce: str) -> int | None:
        return made.behind(Cursor(1, attempt, seq, nonce))

    assert [behind(1, seq, old) for seq in range(4)] == [0, 1, 2, None]
    assert [behind(2, seq, made.nonce) for seq in range(2)] == [3, None]
    assert behind(2, 0, old) is None
    assert behind(1, 0, made.nonce) is None
    assert behind(0, 0, old) is None
    assert behind(3, 0, made.nonce) is None


def test_its_text_is_what_a_reader_holds() -> None:
    chat = session()
    made = reply(chat)
    made.begin_attempt()
    chat.file(made, flush(made, 0, "void ", "too "))
    made.begin_attempt()
    chat.file(made, Flush(0, 0, 1, int(Flag.RESTART), Tally(), encode_events([Takeover(False)])))
    chat.file(made, flush(made, 1, "this ", "stands"))
    assert made.text() == "this stands"
    assert made.weight == sum(stored.weight for stored in made.items)


def test_times_are_counted_from_acceptance_in_milliseconds() -> None:
    assert reply(session(), now=10.0).since_accepted_ms(12.3456) == 2346
