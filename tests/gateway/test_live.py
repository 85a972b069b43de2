import pytest

from gateway.dialect import Ask
from gateway.line import Entry
from gateway.live import FURTHEST, LiveSession
from shared.messages import Attached, Cursor, Flag, Item, Page, encode_events


def item(generation: int, index: int, *, end: bool = False) -> Item:
    flags = int(Flag.TERMINAL) if end else 0
    return Item("s_1", generation, 1, "00c0ffee", f"m{generation}", index, 1, flags, encode_events([]), index)


def attached(*, newest: int = -1, running: int = 0, ended: int = 0) -> Attached:
    open = [f"m{running}"] if running else []
    return Attached("e", "ada", "Be kind.", "echo", open, newest, running, ended, Page([], more=False))


def session(*, submitting: bool = False) -> LiveSession:
    live = LiveSession("s_1", "", None, None)
    if submitting:
        live.line.push(Entry("phone", Ask("m7", "Hi")))
        live.line.take()
    return live


# --- what it learns -------------------------------------------------------------------------------------------------


def test_an_attach_tells_what_the_session_is() -> None:
    live = session()
    live.attached(attached(newest=4, running=7, ended=6))
    assert (live.owner, live.system, live.model) == ("ada", "Be kind.", "echo")
    assert (live.newest, live.generation, live.line.running, live.open) == (4, 7, 7, ["m7"])


def test_an_attach_that_is_older_than_what_was_drained_changes_nothing() -> None:
    live = session()
    live.note(item(7, 5, end=True))
    live.note(item(8, 6))
    live.attached(attached(newest=4, running=7))
    assert (live.newest, live.generation, live.line.running, live.open) == (6, 8, 8, ["m8"])


def test_a_message_that_is_known_to_run_need_not_wait_to_be_known() -> None:
    live = session()
    live.attached(attached(running=7))
    live.line.push(Entry("phone", Ask("m7", "Hi")))
    assert live.line.take() is not None


def test_an_item_tells_what_runs_and_a_terminal_that_nothing_does() -> None:
    live = session()
    live.note(item(7, 0))
    assert (live.open, live.generation, live.newest) == (["m7"], 7, 0)
    live.note(item(7, 1, end=True))
    assert (live.open, live.generation, live.newest) == ([], 7, 1)


def test_a_look_tells_when_something_was_heard_last() -> None:
    live = session()
    live.look(4.0)
    assert live.heard_at == 0.0
    live.note(item(7, 0))
    live.look(5.0)
    live.look(6.0)
    assert live.heard_at == 5.0
    live.note(item(7, 0))
    live.look(7.0)
    assert live.heard_at == 5.0
    live.note(item(7, 1, end=True))
    live.look(8.0)
    assert live.heard_at == 8.0


def test_what_is_known_to_be_there_is_not_drained_yet() -> None:
    live = session()
    live.note(item(7, 0))
    live.know(3)
    live.know(2)
    assert (live.newest, live.after) == (3, item(7, 0).cursor)


def test_old_items_start_nothing_again() -> None:
    live = session()
    live.note(item(7, 1, end=True))
    live.note(item(7, 0))
    assert live.open == []


def test_the_position_is_that_of_the_newest_item() -> None:
    live = session()
    assert live.after is None
    live.note(item(7, 1))
    live.note(item(7, 0))
    assert live.after == item(7, 1).cursor


def test_an_acceptance_tells_what_runs_unless_it_has_ended() -> None:
    live = session(submitting=True)
    live.accepted("m7", 7, ended=False)
    assert live.open == ["m7"]
    live = session(submitting=True)
    live.accepted("m7", 7, ended=True)
    assert live.open == []


@pytest.mark.parametrize("running", [True, False])
def test_a_loss_forgets_the_positions_and_says_whether_anything_was_under_way(running: bool) -> None:
    live = session()
    live.note(item(7, 3, end=not running))
    assert live.forget() is running
    assert (live.newest, live.after, live.open) == (-1, None, [])


def test_a_message_waits_between_its_acceptance_and_its_first_item() -> None:
    live = session(submitting=True)
    assert not live.waits("m7")
    live.accepted("m7", 7, ended=False)
    assert (live.waits("m7"), live.waits("m8")) == (True, False)
    live.note(item(7, 0))
    assert not live.waits("m7")


def test_a_reader_s_cursor_tells_of_generations_that_the_broker_has_forgotten() -> None:
    live = session()
    live.attached(attached(running=7), Cursor(9, 1, 3, "00c0ffee"))
    assert live.submission(Ask("m1", "Hi")).floor == 9
    live.attached(attached(running=7), Cursor(8, 1, 3, "00c0ffee"))
    assert live.submission(Ask("m1", "Hi")).floor == 9


def test_a_made_up_cursor_tells_nothing() -> None:
    live = session()
    live.attached(attached(running=7), Cursor(FURTHEST + 1, 1, 3, "00c0ffee"))
    assert live.submission(Ask("m1", "Hi")).floor == 7


def test_a_message_of_whose_reply_a_reader_has_the_beginning_waits_no_more() -> None:
    live = session()
    live.attached(attached(running=7), Cursor(7, 1, 3, "00c0ffee"))
    assert not live.waits("m7")
    live.attached(attached(running=8))
    assert live.waits("m8")


# --- what it holds back ---------------------------------------------------------------------------------------------


def test_items_wait_for_the_acceptance_of_their_generation() -> None:
    live = session(submitting=True)
    items = [item(7, 0), item(7, 1, end=True)]
    assert [live.hold_back(one) for one in items] == [True, True]
    live.accepted("m7", 7, ended=False)
    assert list(live.release()) == items
    assert not live.release()
    assert not live.hold_back(item(7, 2))


def test_items_of_what_is_accepted_already_do_not_wait() -> None:
    live = session()
    live.note(item(6, 0))
    live.line.push(Entry("phone", Ask("m6", "Hi")))
    live.line.remember("m6")
    assert live.line.take() is not None
    assert not live.hold_back(item(6, 1))


def test_nothing_overtakes_what_waits() -> None:
    live = session(submitting=True)
    live.note(item(6, 0))
    assert live.hold_back(item(7, 2))
    assert live.hold_back(item(6, 1))
