"""accepted_one_terminal, nothing_after_terminal, nothing_after_cancel, loss_is_said, loss_is_true, no_hang."""

import pytest

from tests.chaos.story import Story, cursor, pieces_of

TEXT = pieces_of("a/m1")
WHOLE = "".join(TEXT)


def test_a_reply_that_ends_once_is_fine(story: Story) -> None:
    story.chat()
    assert story.broken() == set()


def test_a_message_that_never_ends(story: Story) -> None:
    story.chat("b", "s2")
    story.ask()
    story.begin()
    story.done()
    assert story.broken() == {"accepted_one_terminal"}


def given_up(story: Story, attempts: int, code: str = "worker_lost") -> None:
    story.ask()
    for attempt in range(attempts):
        story.lease("s1", "m1", 100, attempt=attempt + 1)
    story.begin(pieces=1)
    story.event("error", cursor(100, attempts + 1, 0), code=code, message="So.", retryable=True)
    story.done()


def test_a_reply_that_is_given_up_after_three_attempts_has_its_end(story: Story) -> None:
    given_up(story, 3)
    assert story.broken() == set()


@pytest.mark.parametrize(("attempts", "code"), [(2, "worker_lost"), (3, "internal"), (1, "expired")])
def test_a_reply_that_ends_in_another_error(story: Story, attempts: int, code: str) -> None:
    given_up(story, attempts, code)
    assert story.broken() == {"no_error"}


def test_a_client_that_is_told_of_a_mistake_of_ours(story: Story) -> None:
    story.chat()
    story.got("error", code="internal", message="So.", retryable=True)
    assert story.broken() == {"no_error"}


@pytest.mark.parametrize(("memories", "broken"), [(1, {"no_error"}), (2, set())])
def test_an_id_is_unknown_only_to_a_new_memory(story: Story, memories: int, broken: set[str]) -> None:
    story.chat()
    for number in range(2, memories + 1):
        story.add(f"broker-{number}", "memory", epoch=f"e{number}")
    story.got("error", id="m1", code="unknown_id", message="So.", retryable=False)
    assert story.broken() == broken


@pytest.mark.parametrize(
    ("before", "broken"),
    [
        ("message cancel", {"no_error"}),
        ("message cancel cancel", {"no_error"}),
        ("cancel message", set()),
        ("cancel message cancel", set()),
        ("message accepted cancel", set()),
        ("message cancel accepted message", set()),
    ],
)
def test_what_waits_in_the_line_is_never_unknown(story: Story, before: str, broken: set[str]) -> None:
    story.chat()
    for type in before.split():
        if type == "accepted":
            story.got(type, id="m2", queue_position=0)
        elif type == "cancel":
            story.sent(type, id="m2")
        else:
            story.sent(type, id="m2", content="a/m2")
    story.add("broker-2", "memory", epoch="e2")
    story.got("error", id="m2", code="unknown_id", message="So.", retryable=False)
    story.lost()
    story.done("m2")
    assert story.broken() == broken


def test_a_refusal_for_want_of_a_broker_is_no_mistake(story: Story) -> None:
    story.chat()
    story.got("error", id="m2", code="broker_unavailable", message="So.", retryable=True)
    assert story.broken() == set()


def test_a_refusal_is_no_end(story: Story) -> None:
    story.chat("b", "s2")
    story.ask()
    story.got("error", id="m1", code="broker_unavailable", message="So.", retryable=True)
    story.done()
    assert story.broken() == {"accepted_one_terminal"}


def test_a_second_terminal(story: Story) -> None:
    story.ask()
    story.reply()
    story.end(cursor(100, 1, 5), WHOLE)
    story.done()
    assert story.broken() == {"accepted_one_terminal"}


def test_a_terminal_of_a_second_generation(story: Story) -> None:
    story.ask()
    story.reply()
    story.reply(at=200)
    story.done()
    assert story.broken() == {"accepted_one_terminal"}


def test_a_message_that_runs_again_behind_a_loss_is_fine(story: Story) -> None:
    story.ask()
    story.begin(pieces=1)
    story.add("broker-2", "memory", epoch="e2")
    story.lost()
    story.sent("message", id="m1", content="a/m1")
    story.got("accepted", id="m1", queue_position=0)
    story.reply(at=200)
    story.done()
    assert story.broken() == set()


@pytest.mark.parametrize("seq", [5, 6])
def test_a_piece_behind_the_terminal(story: Story, seq: int) -> None:
    story.ask()
    story.reply()
    story.event("delta", cursor(100, 1, seq), text="\nchunk 4: a/m1")
    story.done()
    assert "nothing_after_terminal" in story.broken()
    assert "nothing_after_cancel" not in story.broken()


def test_a_takeover_behind_the_terminal(story: Story) -> None:
    story.ask()
    story.reply()
    story.event("takeover", cursor(100, 2, 0), attempt=2, exact=True)
    story.done()
    assert story.broken() == {"nothing_after_terminal"}


def test_a_piece_that_stands_behind_the_terminal_seen_by_a_replay_alone(story: Story) -> None:
    story.chat()
    story.closed()
    story.connect(2, replay=True)
    story.sent("resume", 2, session_id="s1", after=cursor(100, 1, 4))
    story.session(number=2, resumed=True)
    story.event("delta", cursor(100, 1, 5), 2, text="\nchunk 4: a/m1")
    story.closed(2)
    assert "nothing_after_terminal" in story.broken()


def cancelled(story: Story) -> None:
    story.ask()
    story.begin(pieces=2)
    story.sent("cancel", id="m1")
    receipt = {"generated": 2, "delivered": 2, "stop_ms": 1}
    story.end(cursor(100, 1, 3), TEXT[0] + TEXT[1], reason="cancelled", receipt=receipt)


def test_a_cancelled_reply_is_fine(story: Story) -> None:
    cancelled(story)
    story.done()
    assert story.broken() == set()


def test_a_piece_behind_the_answer_to_a_cancel(story: Story) -> None:
    cancelled(story)
    story.event("delta", cursor(100, 1, 4), text=TEXT[2])
    story.done()
    assert "nothing_after_cancel" in story.broken()
    assert "nothing_after_terminal" not in story.broken()


def test_a_takeover_behind_the_answer_to_a_cancel(story: Story) -> None:
    cancelled(story)
    story.event("takeover", cursor(100, 2, 0), attempt=2, exact=True)
    story.done()
    assert story.broken() == {"nothing_after_cancel"}


def lost(story: Story) -> None:
    """A reply breaks off, the broker begins anew."""
    story.chat("b", "s2")
    story.ask()
    story.begin(pieces=1)
    story.add("broker-2", "memory", epoch="e2")


def test_a_loss_that_is_said_is_fine(story: Story) -> None:
    lost(story)
    story.lost()
    story.gave_up()
    assert story.broken() == set()


def test_a_loss_that_is_said_by_a_session_that_is_not_found_is_fine(story: Story) -> None:
    lost(story)
    story.closed(by="fault")
    story.connect(2)
    story.sent("resume", 2, session_id="s1", after=cursor(100, 1, 1))
    story.got("error", 2, code="session_not_found", message="So.", retryable=False)
    story.gave_up()
    assert story.broken() == set()


def test_a_silent_loss(story: Story) -> None:
    lost(story)
    story.done()
    assert story.broken() == {"loss_is_said"}


def test_a_loss_that_was_said_before_the_message_was_accepted(story: Story) -> None:
    story.chat("b", "s2")
    story.connect()
    story.session()
    story.add("broker-2", "memory", epoch="e2")
    story.lost()
    story.sent("message", id="m1", content="a/m1")
    story.got("accepted", id="m1", queue_position=0)
    story.add("broker-3", "memory", epoch="e3")
    story.done()
    assert story.broken() == {"loss_is_said"}


def test_a_loss_that_names_the_message_as_open(story: Story) -> None:
    lost(story)
    story.lost(open=["m1"])
    story.done()
    assert story.broken() == {"loss_is_said"}


def test_a_loss_that_did_not_happen(story: Story) -> None:
    story.chat("b", "s2")
    story.ask()
    story.begin(pieces=1)
    story.lost()
    story.gave_up()
    assert story.broken() == {"loss_is_true"}


def accepted_late(story: Story, accepted: float) -> None:
    """A message in the second memory of the broker, of whose loss another word is heard; `accepted`: seconds since the
    memory began, negative before it."""
    story.ask()
    story.reply()
    story.done()
    story.pause(10)
    began = story.t
    story.add("broker-2", "memory", epoch="e2")
    story.t = began + accepted
    story.add("gateway-20", "accepted", session="s1", id="m2", generation=200, repeated=False)
    story.t = began + 2
    story.sent("message", id="m2", content="a/m2")
    story.got("accepted", id="m2", queue_position=0)
    story.lost()
    story.gave_up("m2")


def test_a_loss_excuses_no_message_that_came_behind_it(story: Story) -> None:
    accepted_late(story, 1)
    assert story.broken() == {"loss_is_true"}


def test_a_loss_excuses_what_was_accepted_before_it_and_heard_behind_it(story: Story) -> None:
    accepted_late(story, -1)
    assert story.broken() == set()


def test_a_message_that_was_accepted_again_behind_its_loss_has_to_end(story: Story) -> None:
    lost(story)
    story.lost()
    story.sent("message", id="m1", content="a/m1")
    story.got("accepted", id="m1", queue_position=0)
    story.done()
    assert story.broken() == {"accepted_one_terminal"}


def test_a_plain_loss_that_did_not_happen(story: Story) -> None:
    story.connect(client="p", dialect="plain")
    story.sent("message", client="p", id="1", content="p/1")
    story.text("error: lost: So.")
    story.closed(client="p")
    assert story.broken() == {"loss_is_true"}


def test_a_reply_that_is_kept_no_longer_may_be_said_to_be_gone(story: Story) -> None:
    story.chat()
    story.closed()
    story.pause(901)
    story.connect(2)
    story.sent("resume", 2, session_id="s1", after=cursor(100, 1, 4))
    story.lost(2)
    assert story.broken() == set()


def test_a_client_that_gives_up(story: Story) -> None:
    story.ask()
    story.reply()
    story.gave_up()
    assert story.broken() == {"no_hang"}


def test_a_client_that_gives_up_what_another_one_lost(story: Story) -> None:
    lost(story)
    story.lost()
    story.gave_up()
    story.ask(session="s3", client="c")
    story.reply(client="c", at=700)
    story.gave_up(client="c")
    assert story.broken() == {"no_hang"}


def test_a_client_whose_record_breaks_off(story: Story) -> None:
    story.ask()
    story.reply()
    assert story.broken() == {"no_hang"}
