import msgspec
import pytest

from shared.brokers.manager import calls
from shared.brokers.state import BrokerState, Limits
from shared.errors import Busy, SessionNotFound
from shared.messages import Accepted, Attached, Cursor, Flush, Page, Recalled, Stats, Submission, Tally
from tests.conftest import FakeClock

CURSOR = Cursor(7, 1, 0, "00000000")
FLUSH = Flush(7, 0, 1, 0, Tally(1, 1, 1, 5), b"\x90")


def through(state: BrokerState, *batch: tuple[str, tuple[object, ...]]) -> list[object]:
    """A batch of calls as it goes to the server and its answers come back."""
    answers = calls.encode(calls.perform(state, calls.decode_calls(calls.encode_calls(batch))))
    return calls.decode_answers([method for method, _ in batch], answers)


def test_every_method_that_a_peer_may_call_goes_through_with_its_types(clock: FakeClock) -> None:
    state = BrokerState(clock, Limits())
    batch: list[tuple[str, tuple[object, ...]]] = [
        ("open", ("s", "owner", "be kind", None, 0, "epoch")),
        ("submit", (Submission("s", "m", 0, b"request", b"note"),)),
        ("attach", ("g", "s", None)),
        ("read", ("s", CURSOR, 100)),
        ("recall", ("s", "m")),
        ("annotate", ("s", "m", b"")),
        ("newest", (["s", "t"],)),
        ("append", ([FLUSH],)),
        ("cancel", ("s", "m")),
        ("renew", ([1],)),
        ("release", ([1],)),
        ("bury", ("w",)),
        ("detach", ("g", "s")),
        ("spend", ("token", "spender", state.epoch, 30)),
        ("stats", ()),
        ("forget", ("s",)),
        ("leave_gateway", ("g",)),
        ("leave_worker", ("w",)),
    ]
    assert {method for method, _ in batch} == set(calls.METHODS)
    answers = dict(zip((method for method, _ in batch), through(state, *batch), strict=True))
    assert isinstance(answers["submit"], Accepted)
    assert isinstance(answers["attach"], Attached)
    assert answers["attach"].system == "be kind"
    assert answers["attach"].open == ["m"]
    assert isinstance(answers["read"], Page)
    assert answers["read"].recovered is False
    assert answers["recall"] == Recalled("owner", b"request", b"note", None, None, ended=False, last=True)
    assert answers["newest"] == [-1, -1]
    assert [refusal.reason for refusal in answers["append"]] == ["fenced"]  # type: ignore[attr-defined]
    assert answers["cancel"] is True
    assert answers["spend"] is True
    assert answers["bury"] == 0
    assert isinstance(answers["stats"], Stats)
    assert answers["open"] is answers["forget"] is None


def test_an_error_comes_back_as_itself_and_stops_nothing(clock: FakeClock) -> None:
    state = BrokerState(clock, Limits())
    submission = Submission("s", "m", 0, b"")
    unknown, _, accepted, busy = through(
        state,
        ("submit", (submission,)),
        ("open", ("s", "", None, None, 0, "")),
        ("submit", (submission,)),
        ("submit", (Submission("s", "n", 0, b""),)),
    )
    assert isinstance(unknown, SessionNotFound)
    assert isinstance(accepted, Accepted)
    assert isinstance(busy, Busy)
    assert busy.detail == accepted.generation


@pytest.mark.parametrize("call", [("tick", ()), ("__init__", ()), ("nonsense", ())])
def test_nothing_else_can_be_called(call: tuple[str, tuple[object, ...]]) -> None:
    with pytest.raises(KeyError):
        calls.decode_calls(calls.encode_calls([call]))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        calls.decode_calls(calls.encode_calls([("bury", (1,))]))
