import pytest

from gateway.outbox import ROOM, Outbox
from gateway.protocol import JsonDialect
from shared.messages import Cursor, Delta, Flag, Item, encode_events
from tests.gateway.chatting import FakeWriter


def item(index: int, first: int, *texts: str, attempt: int = 1, nonce: str = "00c0ffee", flags: int = 0) -> Item:
    events = encode_events([Delta(text) for text in texts])
    return Item("s_1", 42, attempt, nonce, "m1", first, len(texts), flags, events, index)


class Case:
    """An outbox whose touches are counted and whose frames are texts."""

    def __init__(self, *, live: bool = True) -> None:
        self.writer = FakeWriter()
        self.touched: list[Outbox] = []
        self.outbox = Outbox(JsonDialect(), self.writer, self.touched.append)
        self.outbox.live = live

    def texts(self) -> list[str]:
        """Flush, and what has been written so far."""
        self.outbox.flush(0.0)
        return [payload.split(b'"text":"')[1][:-2].decode() for write in self.writer.writes for payload in write]


def after(seq: int, *, attempt: int = 1, nonce: str = "00c0ffee") -> Cursor:
    return Cursor(42, attempt, seq, nonce)


# --- position -------------------------------------------------------------------------------------------------------


def test_live_it_writes_what_follows_and_drops_what_it_has() -> None:
    case = Case()
    first, second = item(0, 0, "a", "b"), item(1, 2, "c")
    assert all(case.outbox.offer(one) for one in (first, first, second, first, second))
    assert case.texts() == ["a", "b", "c"]
    assert (case.outbox.next_index, case.outbox.after) == (2, after(2))


def test_a_gap_is_said_and_nothing_behind_it_is_written() -> None:
    case = Case()
    case.outbox.offer(item(0, 0, "a"))
    assert not case.outbox.offer(item(2, 2, "c"))
    assert case.outbox.offer(item(3, 3, "d"))
    assert case.texts() == ["a"]
    assert (case.outbox.live, case.outbox.next_index, case.outbox.after) == (False, 1, after(0))


def test_what_is_not_live_keeps_nothing_of_what_it_is_offered() -> None:
    case = Case(live=False)
    assert case.outbox.offer(item(0, 0, "a"))
    assert case.outbox.offer(item(7, 7, "h"))
    assert case.texts() == []
    assert case.touched == []


@pytest.mark.parametrize("seq", range(4))
def test_a_resume_within_an_item_skips_what_the_reader_has(seq: int) -> None:
    case = Case()
    case.outbox.begin(after(seq), 0)
    case.outbox.write(item(0, 0, "a", "b", "c", "d"))
    case.outbox.write(item(1, 4, "e"))
    assert case.texts() == ["a", "b", "c", "d", "e"][seq + 1 :]


@pytest.mark.parametrize("position", [after(1, attempt=2), after(1, nonce="00000000"), Cursor(41, 1, 1, "00c0ffee")])
def test_the_position_of_another_attempt_skips_nothing(position: Cursor) -> None:
    case = Case()
    case.outbox.begin(position, 0)
    case.outbox.write(item(0, 0, "a", "b"))
    assert case.texts() == ["a", "b"]


def test_after_a_loss_it_begins_anew() -> None:
    case = Case()
    case.outbox.write(item(5, 0, "a"))
    case.outbox.begin(None, 0)
    assert case.outbox.after is None
    assert case.outbox.offer(item(0, 0, "a"))
    assert case.texts() == ["a", "a"]


# --- the short way --------------------------------------------------------------------------------------------------


def test_the_short_way_takes_further_pieces_and_goes_on_behind_them() -> None:
    case = Case()
    case.outbox.write(item(4, 0, "a", "b"))
    assert case.outbox.follow(item(5, 2, "c"))
    assert case.outbox.follow(item(6, 3, "d", "e"))
    assert (case.outbox.next_index, case.outbox.after) == (7, after(4))
    assert case.outbox.offer(item(7, 5, "f"))
    assert (case.outbox.next_index, case.outbox.after) == (8, after(5))
    assert case.texts() == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(item(0, 1, "b"), id="again"),
        pytest.param(item(2, 2, "c"), id="gap"),
        pytest.param(item(1, 0, "b", attempt=2, nonce="11c0ffee"), id="another attempt"),
        pytest.param(item(1, 1, flags=Flag.RESTART), id="restart"),
        pytest.param(item(1, 1, "b", flags=Flag.TERMINAL), id="terminal"),
    ],
)
def test_nothing_else_goes_the_short_way(other: Item) -> None:
    case = Case()
    case.outbox.write(item(0, 0, "a"))
    assert not case.outbox.follow(other)
    assert (case.outbox.live, case.outbox.next_index, case.outbox.after) == (True, 1, after(0))
    assert case.texts() == ["a"]


def test_what_is_not_live_takes_nothing_the_short_way() -> None:
    case = Case()
    case.outbox.write(item(0, 0, "a"))
    case.outbox.live = False
    assert not case.outbox.follow(item(1, 1, "b"))
    assert (case.outbox.next_index, case.outbox.after) == (1, after(0))
    assert case.texts() == ["a"]


def test_what_says_nothing_in_this_dialect_moves_the_position_only() -> None:
    case = Case()
    case.outbox.write(item(0, 0, "a"))
    case.texts()
    silent = Item("s_1", 42, 1, "00c0ffee", "m1", 1, 2, 0, encode_events([]), 1)
    assert case.outbox.follow(silent)
    assert (case.outbox.next_index, case.outbox.after) == (2, after(2))
    assert case.touched == [case.outbox]
    assert case.texts() == ["a"]


# --- writing --------------------------------------------------------------------------------------------------------


def test_one_write_for_all_that_came_together() -> None:
    case = Case()
    case.outbox.put([b"1"])
    case.outbox.put([b"2", b"3"])
    assert case.writer.writes == []
    assert case.touched == [case.outbox]

    assert case.outbox.flush(0.0)
    assert case.outbox.flush(0.0)
    assert case.writer.writes == [[b"1", b"2", b"3"]]

    case.outbox.put([b"4"])
    assert case.touched == [case.outbox, case.outbox]


def test_no_frames_are_no_write() -> None:
    case = Case()
    case.outbox.put([])
    case.outbox.flush(0.0)
    assert (case.touched, case.writer.writes) == ([], [])


@pytest.mark.parametrize(("unsent", "room"), [(0, True), (ROOM, True), (ROOM + 1, False)])
def test_a_socket_without_room_ends_the_live_mode(unsent: int, room: bool) -> None:
    case = Case()
    case.writer.unsent = unsent
    case.outbox.put([b"1"])
    assert case.outbox.flush(5.0) is room
    assert case.outbox.live is room
    assert case.outbox.blocked_at == (None if room else 5.0)
    assert case.writer.writes == [[b"1"]]


def test_the_time_without_room_counts_from_its_beginning() -> None:
    case = Case()
    case.writer.unsent = ROOM + 1
    case.outbox.flush(5.0)
    case.outbox.flush(6.0)
    assert case.outbox.blocked_at == 5.0
