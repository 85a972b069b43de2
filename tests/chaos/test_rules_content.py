"""text, sha256, canary, plain_order."""

import pytest

from tests.chaos.story import Story, cursor, pieces_of, sha256

TEXT = pieces_of("a/m1")
WHOLE = "".join(TEXT)


def said(story: Story, pieces: list[str], text: str | None = None, reason: str = "stop") -> None:
    """A reply of these pieces, with the fingerprint of `text` (None: their own)."""
    story.ask()
    story.event("started", cursor(100, 1, 0), attempt=1, model="echo")
    for seq, piece in enumerate(pieces, 1):
        story.event("delta", cursor(100, 1, seq), text=piece)
    story.end(cursor(100, 1, len(pieces) + 1), "".join(pieces) if text is None else text, reason=reason)
    story.done()


@pytest.mark.parametrize("pieces", [TEXT[:2], [], [*TEXT, TEXT[2]], [TEXT[1], TEXT[0], TEXT[2]], [*TEXT, "\nmore"]])
def test_a_complete_reply_has_the_whole_text(story: Story, pieces: list[str]) -> None:
    said(story, pieces)
    assert story.broken() == {"text"}


def test_a_cancelled_reply_has_the_beginning_of_the_text(story: Story) -> None:
    said(story, TEXT[:2], reason="cancelled")
    assert story.broken() == set()


def test_a_cancelled_reply_with_a_hole(story: Story) -> None:
    said(story, [TEXT[0], TEXT[2]], reason="cancelled")
    assert story.broken() == {"text"}


def test_the_text_before_a_takeover_that_begins_anew_is_void(story: Story) -> None:
    story.ask()
    story.begin(pieces=2)
    story.event("takeover", cursor(100, 2, 0), attempt=2, exact=False)
    story.event("delta", cursor(100, 2, 1), text=TEXT[2])
    story.end(cursor(100, 2, 2), TEXT[2])
    story.done()
    assert story.broken() == {"text"}


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_fingerprint_of_another_text(story: Story, reason: str) -> None:
    said(story, TEXT, "another", reason)
    assert story.broken() == {"sha256"}


def test_a_wrong_text_with_its_own_fingerprint_is_no_better(story: Story) -> None:
    story.chat("b", "s2")
    said(story, [TEXT[0], TEXT[2]])
    assert story.broken() == {"text"}


def test_a_piece_of_another_session(story: Story) -> None:
    story.chat("b", "s2")
    said(story, [TEXT[0], pieces_of("b/m1")[1], TEXT[2]], reason="cancelled")
    assert story.broken() == {"canary", "text"}


def test_a_frame_for_an_id_that_nobody_sent_here(story: Story) -> None:
    story.chat("b", "s2")
    story.ask()
    story.begin()
    story.event("started", cursor(100, 2, 0), id="m9", attempt=2, model="echo")
    story.end(cursor(100, 2, 1), WHOLE)
    story.done()
    assert "canary" in story.broken()


def test_an_event_of_another_session_that_says_the_same(story: Story) -> None:
    for session in ("s2", "s1"):
        story.ask(session=session)
        story.event("started", cursor(100, 1, 0), attempt=1, model="echo")
        story.end(cursor(100, 1, 1), "", reason="length")
    story.done()
    assert story.broken() == {"canary"}


def test_what_another_client_of_the_same_session_sent_is_no_foreign_id(story: Story) -> None:
    story.ask()
    story.connect(client="c")
    story.sent("resume", client="c", session_id="s1")
    story.session(client="c", resumed=True)
    story.reply()
    story.done()
    story.event("started", cursor(100, 1, 0), client="c", attempt=1, model="echo")
    assert story.broken() == set()


def test_sha256_is_what_the_service_promises() -> None:
    assert sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# --- plain ----------------------------------------------------------------------------------------------------------


def plain(story: Story, *texts: str, messages: int = 1, by: str = "us") -> set[str]:
    """A plain client that says so many messages at once and hears these texts."""
    story.connect(client="p", dialect="plain")
    for number in range(1, messages + 1):
        story.sent("message", client="p", id=str(number), content=f"p/{number}")
    for text in texts:
        story.text(text)
    story.closed(client="p", by=by)
    return story.broken()


def answer(number: int, chunks: int = 3) -> list[str]:
    """What a plain client hears."""
    return [f"chunk {chunk}: p/{number}" for chunk in range(1, chunks + 1)]


LOST = "error: lost: So."


@pytest.mark.parametrize(
    "texts",
    [
        answer(1) + answer(2),
        [*answer(1), "error: busy: So."],
        ["error: worker_lost: So.", *answer(2)],
        [*answer(1, 2), "error: broker_unavailable: So.", *answer(2)],
        [*answer(1, 2), "error: restarted: So.", *answer(1), *answer(2)],
    ],
)
def test_plain_replies_in_order_are_fine(story: Story, texts: list[str]) -> None:
    assert plain(story, *texts, messages=2) == set()


@pytest.mark.parametrize("texts", [[LOST, *answer(2)], [*answer(1, 1), LOST, *answer(2)], [*answer(1), LOST]])
def test_plain_losses_are_fine_where_there_was_one(story: Story, texts: list[str]) -> None:
    story.add("broker-2", "memory", epoch="e2")
    assert plain(story, *texts, messages=2) == set()


def test_a_loss_that_came_behind_the_last_piece_concerns_nothing_more(story: Story) -> None:
    story.add("broker-2", "memory", epoch="e2")
    assert plain(story, *answer(1), LOST, *answer(2), messages=2) == set()


@pytest.mark.parametrize(
    "texts",
    [
        answer(2) + answer(1),
        [*answer(1, 1), *answer(2), *answer(1)[1:]],
        [*answer(1)[1:], *answer(2)],
        [*answer(1), answer(1)[2], *answer(2)],
        [*answer(1), *answer(1), *answer(2)],
        [*answer(1), *answer(2, 2)],
        [*answer(1), *answer(2), "more"],
        [],
    ],
)
def test_plain_replies_out_of_order(story: Story, texts: list[str]) -> None:
    story.chat()
    assert plain(story, *texts, messages=2) == {"plain_order"}


def test_a_plain_reply_that_the_network_cut_is_fine(story: Story) -> None:
    assert plain(story, *answer(1, 2), by="fault") == set()


def test_a_piece_of_another_session_in_plain(story: Story) -> None:
    story.chat()
    assert plain(story, answer(1)[0], "chunk 2: a/m1", *answer(1)[1:]) == {"canary"}


def test_a_plain_client_that_is_told_of_a_mistake_of_ours(story: Story) -> None:
    assert plain(story, "error: internal: So.") == {"no_error"}


def test_a_plain_client_that_gives_up(story: Story) -> None:
    story.connect(client="p", dialect="plain")
    story.sent("message", client="p", id="1", content="p/1")
    story.text(answer(1)[0])
    story.gave_up("1", client="p")
    assert story.broken() == {"no_hang"}
