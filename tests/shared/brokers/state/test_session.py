"""What is kept of a session, and reading it from any position."""

import pytest

from shared.brokers.state.reply import Reply
from shared.brokers.state.session import Session
from shared.messages import Item, Page
from tests.shared.brokers.state.builders import flush, reply, session


def replied(chat: Session, generation: int, *flushes: tuple[str, ...]) -> Reply:
    """An ended reply of these flushes."""
    made = reply(chat, generation)
    made.begin_attempt()
    for texts in flushes:
        chat.file(made, flush(made, made.next_seq, *texts))
        made.next_seq += len(texts)
    chat.running = None
    return made


@pytest.fixture
def chat() -> Session:
    chat = session()
    replied(chat, 10, ("a", "b"), ("c",))
    replied(chat, 20, ("d",), ("e", "f"))
    return chat


def stored(chat: Session) -> list[Item]:
    return [item for reply in chat.replies.values() for item in reply.items]


def test_items_are_numbered_through_all_replies(chat: Session) -> None:
    assert [item.index for item in stored(chat)] == [0, 1, 2, 3]
    assert chat.newest == 3
    assert chat.last == 20


def test_a_page_holds_what_stands_behind_its_cursor(chat: Session) -> None:
    everything = stored(chat)
    assert chat.page(None, 1 << 20) == Page(everything, more=False)
    for place, kept in enumerate(everything):
        assert chat.page(kept.cursor, 1 << 20) == Page(everything[place + 1 :], more=False)
    assert chat.page(everything[0].cursor._replace(seq=0), 1 << 20).items == everything


@pytest.mark.parametrize("limit", [0, 1, 7, 10, 14, 1000])
def test_pages_are_bounded_but_never_empty_handed(chat: Session, limit: int) -> None:
    found: list[Item] = []
    page = Page([], more=True)
    while page.more:
        page = chat.page(found[-1].cursor if found else None, limit)
        assert len(page.items) == 1 or sum(len(item.events) for item in page.items) <= limit
        found += page.items
    assert found == stored(chat)


def test_a_cursor_that_names_nothing_stored_is_said(chat: Session) -> None:
    everything = stored(chat)
    known = everything[1].cursor
    wrong = [known._replace(nonce="x"), known._replace(seq=9), known._replace(attempt=2), known._replace(generation=15)]
    for cursor in wrong:
        assert chat.page(cursor, 1 << 20) == Page(everything, more=False, recovered=False)


def test_expiry_leaves_a_floor_behind_which_nothing_is_missing(chat: Session) -> None:
    gone, kept = list(chat.replies.values())
    before, floor = gone.items[0].cursor, gone.items[-1].cursor
    chat.expire(gone)
    assert chat.floor == floor
    assert chat.page(floor, 1 << 20) == Page(kept.items, more=False, recovered=True)
    assert chat.page(before, 1 << 20) == Page(kept.items, more=False, recovered=False)
    assert chat.page(None, 1 << 20).recovered
    assert chat.bytes == kept.bytes
    assert list(chat.replies) == ["m20"]
    chat.expire(kept)
    assert (chat.bytes, chat.newest) == (0, 3)
    assert chat.page(floor, 1 << 20).recovered is False  # what stood behind it has gone since


def test_only_ended_replies_go_and_the_oldest_first(chat: Session) -> None:
    first, second = chat.replies.values()
    assert chat.oldest_ended() is first
    chat.expire(first)
    assert chat.oldest_ended() is second
    chat.expire(second)
    assert chat.oldest_ended() is None
    reply(chat, 30)
    assert chat.oldest_ended() is None
