"""contiguous, zombie_invisible, replay_equals_live."""

from tests.chaos.story import Story, cursor, pieces_of

TEXT = pieces_of("a/m1")
WHOLE = "".join(TEXT)


def taken_over(story: Story, first: int = 0) -> None:
    """One piece by the first attempt, the others by a second one."""
    story.begin(pieces=1)
    story.event("takeover", cursor(100, 2, first), attempt=2, exact=True)
    for seq, text in enumerate(TEXT[1:], first + 1):
        story.event("delta", cursor(100, 2, seq), text=text)
    story.end(cursor(100, 2, first + 3), WHOLE)


def test_a_takeover_is_fine(story: Story) -> None:
    story.ask()
    taken_over(story)
    story.done()
    assert story.broken() == set()


def test_a_takeover_that_begins_anew_is_fine(story: Story) -> None:
    story.ask()
    story.begin(pieces=2)
    story.event("takeover", cursor(100, 3, 0), attempt=3, exact=False)
    for seq, text in enumerate(TEXT, 1):
        story.event("delta", cursor(100, 3, seq), text=text)
    story.end(cursor(100, 3, 4), WHOLE)
    story.done()
    assert story.broken() == set()


def test_a_second_reply_is_fine(story: Story) -> None:
    story.chat()
    story.sent("message", id="m2", content="a/m2")
    story.got("accepted", id="m2", queue_position=0)
    story.reply(id="m2", at=200)
    story.done("m2")
    assert story.broken() == set()


def test_an_attempt_that_does_not_begin_at_its_beginning(story: Story) -> None:
    story.ask()
    taken_over(story, first=1)
    story.done()
    assert story.broken() == {"contiguous"}


def test_an_attempt_without_a_takeover(story: Story) -> None:
    story.ask()
    story.begin(pieces=2)
    story.event("delta", cursor(100, 2, 0), text=TEXT[2])
    story.end(cursor(100, 2, 1), WHOLE)
    story.done()
    assert story.broken() == {"contiguous"}


def test_a_reply_without_a_beginning(story: Story) -> None:
    story.ask()
    story.event("takeover", cursor(100, 2, 0), attempt=2, exact=True)
    story.end(cursor(100, 2, 1), "")
    story.done()
    assert story.broken() == {"contiguous"}


def test_a_hole(story: Story) -> None:
    story.ask()
    story.begin()
    story.end(cursor(100, 1, 5), WHOLE)
    story.done()
    assert story.broken() == {"contiguous"}


def test_an_event_twice(story: Story) -> None:
    story.ask()
    story.begin()
    story.end(cursor(100, 1, 4), WHOLE)
    story.end(cursor(100, 1, 4), WHOLE)
    story.done()
    assert story.broken() == {"contiguous"}


def test_a_piece_twice_spoils_the_text_too(story: Story) -> None:
    story.ask()
    story.begin()
    story.event("delta", cursor(100, 1, 3), text=TEXT[2])
    story.end(cursor(100, 1, 4), WHOLE)
    story.done()
    assert story.broken() == {"contiguous", "text", "sha256"}


def test_a_generation_that_goes_back(story: Story) -> None:
    story.chat()
    story.sent("message", id="m2", content="a/m2")
    story.got("accepted", id="m2", queue_position=0)
    story.reply(id="m2", at=90)
    story.done("m2")
    assert story.broken() == {"contiguous"}


def test_a_cursor_that_is_none(story: Story) -> None:
    story.chat()
    story.event("delta", "100-1", text="x")
    assert story.broken() == {"contiguous"}


def test_another_nonce_in_the_middle(story: Story) -> None:
    story.ask()
    story.begin()
    story.end(cursor(100, 1, 4, "ffff0000"), WHOLE)
    story.done()
    assert story.broken() == {"contiguous"}


def resumed(story: Story, after: str | None, number: int = 2, replay: bool = False) -> None:
    story.closed(number - 1, by="fault")
    story.connect(number, replay=replay)
    story.sent("resume", number, session_id="s1", **({} if after is None else {"after": after}))
    story.session(number=number, resumed=True)


def test_a_reply_over_two_connections_is_fine(story: Story) -> None:
    story.ask()
    story.begin(pieces=2)
    resumed(story, cursor(100, 1, 1))  # the last one on the way did not get into the client's hands
    story.event("delta", cursor(100, 1, 2), 2, text=TEXT[1])
    story.event("delta", cursor(100, 1, 3), 2, text=TEXT[2])
    story.end(cursor(100, 1, 4), WHOLE, 2)
    story.done()
    assert story.broken() == set()


def test_an_event_lost_between_two_connections(story: Story) -> None:
    story.ask()
    story.begin(pieces=1)
    resumed(story, cursor(100, 1, 1))
    story.event("delta", cursor(100, 1, 3), 2, text=TEXT[2])
    story.end(cursor(100, 1, 4), TEXT[0] + TEXT[2], 2)
    story.done()
    assert story.broken() == {"contiguous", "text"}


def test_events_that_another_connection_saw_in_between(story: Story) -> None:
    story.ask()
    story.connect(2)
    story.sent("resume", 2, session_id="s1")
    story.session(number=2, resumed=True)
    taken_over(story)
    story.event("started", cursor(100, 1, 0), 2, attempt=1, model="echo")  # but not the piece behind it
    story.event("takeover", cursor(100, 2, 0), 2, attempt=2, exact=True)
    story.done()
    assert story.broken() == {"contiguous"}


def test_an_older_attempt_behind_a_newer_one(story: Story) -> None:
    story.ask()
    story.begin(pieces=1)
    story.event("takeover", cursor(100, 2, 0), attempt=2, exact=True)
    story.event("delta", cursor(100, 1, 2), text=TEXT[1])
    story.event("delta", cursor(100, 2, 1), text=TEXT[2])
    story.end(cursor(100, 2, 2), WHOLE)
    story.done()
    assert story.broken() == {"zombie_invisible"}


def test_what_was_refused_is_visible(story: Story) -> None:
    story.append("fenced", first=4)
    story.chat()
    assert story.broken() == {"zombie_invisible"}


def test_what_was_refused_and_is_not_visible_is_fine(story: Story) -> None:
    story.append("fenced", first=5)
    story.append("fenced", first=4, attempt=2)
    story.chat()
    assert story.broken() == set()


def test_what_was_stored_without_an_answer_and_refused_when_it_was_repeated_is_fine(story: Story) -> None:
    story.append("unknown", first=4)
    story.append("fenced", first=4)
    story.chat()
    assert story.broken() == set()


def replayed(story: Story, after: str | None = None) -> None:
    story.chat()
    resumed(story, after, replay=True)


def test_replays_are_fine(story: Story) -> None:
    replayed(story)
    story.reply(2)
    resumed(story, cursor(100, 1, 3), 3, replay=True)
    story.end(cursor(100, 1, 4), WHOLE, 3)
    resumed(story, cursor(100, 1, 4), 4, replay=True)
    story.closed(4)
    assert story.broken() == set()


def test_a_replay_that_differs_in_one_field(story: Story) -> None:
    replayed(story, cursor(100, 1, 2))
    story.event("delta", cursor(100, 1, 3), 2, text=TEXT[2], more=1)
    story.end(cursor(100, 1, 4), WHOLE, 2)
    story.closed(2)
    assert story.broken() == {"replay_equals_live"}


def test_a_replay_that_leaves_a_reply_out(story: Story) -> None:
    story.chat()
    story.sent("message", id="m2", content="a/m2")
    story.got("accepted", id="m2", queue_position=0)
    story.reply(id="m2", at=200)
    story.done("m2")
    resumed(story, None, replay=True)
    story.reply(2, id="m2", at=200)
    story.closed(2)
    assert story.broken() == {"replay_equals_live"}


def test_a_replay_that_stops_before_the_end(story: Story) -> None:
    replayed(story)
    story.begin(2)
    story.closed(2)
    assert story.broken() == {"replay_equals_live"}


def test_a_replay_that_was_cut_is_fine(story: Story) -> None:
    replayed(story)
    story.begin(2)
    story.closed(2, by="fault")
    assert story.broken() == set()


def test_a_replay_behind_a_loss_may_miss_what_was_before(story: Story) -> None:
    story.chat()
    story.add("broker-2", "memory", epoch="e2")
    story.lost()
    story.sent("message", id="m2", content="a/m2")
    story.got("accepted", id="m2", queue_position=0)
    story.reply(id="m2", at=200)
    story.done("m2")
    resumed(story, None, replay=True)
    story.reply(2, id="m2", at=200)
    story.closed(2)
    assert story.broken() == set()
