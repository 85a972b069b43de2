import msgspec
import pytest

from gateway.dialect import Ask, Begin, Say
from gateway.plain import PlainDialect
from shared.errors import BrokerUnavailable, Busy, SessionNotFound
from shared.messages import Delta, Done, Event, Failed, Item, Started, Takeover, Timing, Usage, encode_events

DONE = Done("stop", Usage(1, 2, False), Timing(1, 2, 3), "5ha")
CANCELLED = Done("cancelled", Usage(1, 2, False), Timing(1, 2, 3), "5ha")


def item(*events: Event) -> Item:
    return Item("s_1", 42, 1, "00c0ffee", "1", 0, len(events), 0, encode_events(events), 0)


def shown(*events: Event, skip: int = 0) -> list[str]:
    return [payload.decode() for payload in PlainDialect().events(item(*events), skip)]


# --- what clients send ----------------------------------------------------------------------------------------------


def test_each_frame_is_a_message_of_one_session() -> None:
    dialect = PlainDialect()
    texts = ["Hello, LLM!", '{"type":"ping"}', " two\nlines ", "\0"]
    actions = [action for text in texts for action in dialect.receive(text)]
    assert actions == [Begin(None, None), *(Ask(str(n), text) for n, text in enumerate(texts, 1))]


def test_an_empty_message_is_refused_and_begins_nothing() -> None:
    dialect = PlainDialect()
    (answer,) = dialect.receive("")
    assert isinstance(answer, Say)
    assert answer.payload.startswith(b"error: invalid_message: ")
    assert dialect.receive("Hello") == [Begin(None, None), Ask("1", "Hello")]


def test_after_a_failure_the_next_message_begins_anew_under_an_id_of_its_own() -> None:
    dialect = PlainDialect()
    dialect.receive("Hello")
    assert dialect.not_joined(BrokerUnavailable()) == []
    assert dialect.receive("Again") == [Begin(None, None), Ask("2", "Again")]


# --- what the server says -------------------------------------------------------------------------------------------


def test_no_frame_but_chunks_while_all_goes_well() -> None:
    dialect = PlainDialect()
    assert dialect.joined("s_1", resumed=False, recovered=True, open=[]) == []
    assert dialect.accepted("1", 0) == []
    assert dialect.queued("1", 3) == []
    assert dialect.going_away(100) == []
    assert dialect.lost("s_1", pending=False, open=[]) == []
    chunks = [f"chunk {n}: Hi" for n in range(1, 6)]
    deltas = [Delta(chunks[0]), *(Delta("\n" + chunk) for chunk in chunks[1:])]
    assert shown(Started("echo"), *deltas, DONE) == chunks


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("\n", []),
        ("", []),
        ("\n\n", ["\n"]),
        ("\na\n", ["a\n"]),
        (" \na", [" \na"]),
        ("\r\na", ["\r\na"]),
        ("😀", ["😀"]),
    ],
)
def test_one_leading_newline_is_the_frame_boundary_itself(text: str, frames: list[str]) -> None:
    assert shown(Delta(text)) == frames


@pytest.mark.parametrize(
    ("event", "frames"),
    [
        (Takeover(True), []),
        (CANCELLED, []),
        (Failed("engine_error", "It broke.", True), ["error: engine_error: It broke."]),
    ],
)
def test_other_events(event: Event, frames: list[str]) -> None:
    assert shown(event) == frames


def test_a_restart_is_said_before_the_first_chunk_comes_again() -> None:
    said, again = shown(Takeover(False), Delta("chunk 1"))
    assert said.startswith("error: restarted: ")
    assert again == "chunk 1"


def test_a_loss_is_said_where_something_was_under_way() -> None:
    (said,) = PlainDialect().lost("s_1", pending=True, open=[])
    assert said.startswith(b"error: lost: ")


def test_an_end_of_which_only_the_history_has_the_text_is_a_loss() -> None:
    recalled = msgspec.structs.replace(item(DONE), index=-1)
    (said,) = PlainDialect().events(recalled, 0)
    assert said.startswith(b"error: lost: ")


def test_a_refusal_is_one_frame() -> None:
    assert PlainDialect().refused("1", Busy("Nine.")) == [b"error: busy: Nine."]
    assert PlainDialect().refused(None, SessionNotFound("No.")) == [b"error: session_not_found: No."]


@pytest.mark.parametrize("skip", range(4))
def test_what_is_skipped_counts_events_not_frames(skip: int) -> None:
    events: list[Event] = [Started("echo"), Delta("\n"), Delta("a"), Delta("b")]
    assert shown(*events, skip=skip) == [["a", "b"], ["a", "b"], ["a", "b"], ["b"]][skip]
