"""idempotent, stop_stops, quiet_is_empty, fault_hit, load, witness."""

from typing import Any

import pytest

from tests.chaos.checker.rules.run import COPIES, DESCRIPTORS, KEPT, MEMORY, THREADS
from tests.chaos.story import IDLE, NONCE, PROCESS, Story, cursor, pieces_of

TEXT = pieces_of("a/m1")
ATTEMPT = {"session": "s1", "id": "m1", "generation": 100, "attempt": 1, "nonce": NONCE}


def accepted(story: Story, generation: int) -> None:
    story.add("gateway-20", "accepted", session="s1", id="m1", generation=generation, repeated=False)


def test_one_generation_over_several_attempts_is_fine(story: Story) -> None:
    story.chat()
    accepted(story, 100)
    accepted(story, 100)
    story.lease("s1", "m1", 100)
    story.lease("s1", "m1", 100, attempt=2)
    assert story.broken() == set()


def test_two_generations_of_one_message(story: Story) -> None:
    story.chat()
    accepted(story, 100)
    accepted(story, 101)
    assert story.broken() == {"idempotent"}


def test_a_generation_that_only_a_worker_saw(story: Story) -> None:
    story.chat()
    accepted(story, 100)
    story.lease("s1", "m1", 101)
    assert story.broken() == {"idempotent"}


def test_a_generation_in_each_memory_of_the_broker_is_fine(story: Story) -> None:
    story.chat()
    accepted(story, 100)
    story.add("broker-2", "memory", epoch="e2")
    accepted(story, 101)
    assert story.broken() == set()


# --- stop -----------------------------------------------------------------------------------------------------------


def cancelled(story: Story, generated: int = 2, counted: int = 2, delivered: int = 2) -> None:
    story.ask()
    story.begin(pieces=2)
    story.sent("cancel", id="m1")
    story.add("worker-30", "heard_cancel", **ATTEMPT, age_ms=1, generated=counted)
    receipt = {"generated": generated, "delivered": delivered, "stop_ms": 1}
    story.end(cursor(100, 1, 3), TEXT[0] + TEXT[1], reason="cancelled", receipt=receipt)
    story.done()


def test_one_flush_that_was_on_its_way_and_the_terminal_are_fine(story: Story) -> None:
    cancelled(story)
    story.append("ok", 1, 2)
    story.append("ok", 3, 1, flags=4)
    assert story.broken() == set()


def test_two_flushes_behind_a_cancel(story: Story) -> None:
    cancelled(story)
    story.append("ok", 1)
    story.append("ok", 2)
    assert story.broken() == {"stop_stops"}


def test_a_text_together_with_the_terminal_is_a_flush(story: Story) -> None:
    cancelled(story)
    story.append("ok", 1)
    story.append("ok", 2, 2, flags=4)
    assert story.broken() == {"stop_stops"}


def test_what_was_refused_is_no_flush(story: Story) -> None:
    cancelled(story)
    for first in (4, 5, 6):
        story.append("cancelled", first)
    assert story.broken() == set()


def test_an_engine_that_goes_on(story: Story) -> None:
    cancelled(story)
    story.add("worker-30", "late_piece", **ATTEMPT, cancelled=True)
    assert story.broken() == {"stop_stops"}


@pytest.mark.parametrize("counts", [{"generated": 3}, {"counted": 1}, {"delivered": 1}])
def test_a_receipt_that_is_not_true(story: Story, counts: dict[str, int]) -> None:
    cancelled(story, **counts)
    assert story.broken() == {"stop_stops"}


# --- the end of the run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["queued", "running"])
def test_work_that_is_left(story: Story, name: str) -> None:
    story.chat()
    story.quiet(stats={**IDLE, name: 1})
    assert story.broken() == {"quiet_is_empty"}


BOUNDS = {"fds": DESCRIPTORS, "threads": THREADS, "rss": MEMORY + KEPT + COPIES * len("".join(TEXT))}


@pytest.mark.parametrize(("name", "bound"), BOUNDS.items())
def test_a_process_that_has_grown(name: str, bound: int) -> None:
    for growth, broken in ((bound, set()), (bound + 1, {"quiet_is_empty"})):
        story = Story()
        story.chat()
        grown: dict[str, Any] = {**PROCESS, name: PROCESS[name] + growth}  # type: ignore[operator]
        story.quiet(after=[grown])
        assert story.broken() == broken


def test_a_process_too_many(story: Story) -> None:
    story.chat()
    story.quiet(after=[PROCESS, {**PROCESS, "name": "gateway-9"}])
    assert story.broken() == {"quiet_is_empty"}


def test_nobody_looked(story: Story) -> None:
    story.chat()
    story.told_quiet = True
    assert story.broken() == {"quiet_is_empty"}


def test_nobody_was_answered(story: Story) -> None:
    assert story.broken() == {"load"}


def test_a_run_that_is_not_described(story: Story) -> None:
    story.chat()
    del story.records[0]
    assert story.broken() == {"load"}


def test_a_witness_that_failed(story: Story) -> None:
    story.chat()
    story.add("witness-20", "witness_failed", error="AttributeError: So.")
    assert story.broken() == {"witness"}


@pytest.mark.parametrize("role", ["broker", "gateway", "worker"])
def test_no_witness_in_one_kind_of_process(story: Story, role: str) -> None:
    story.chat()
    story.records = [record for record in story.records if record.role != role]
    assert story.broken() == {"witness"}


# --- hits -----------------------------------------------------------------------------------------------------------

FAULTS: list[dict[str, Any]] = [
    {"role": "engine", "pids": [30]},
    {"role": "worker", "pid": 30},
    {"role": "gateway", "pids": [20, 21]},
    {"role": "broker", "pids": [1]},
    {"role": "connection", "connections": [["a", 1]]},
]


def struck(story: Story, **fault: Any) -> None:
    """A fault after the second piece."""
    story.ask()
    story.lease("s1", "m1", 100)
    story.add("gateway-20", "wrote", session="s1", generation=100, attempt=1, first=0, count=3, index=0, connection=1)
    story.begin(pieces=2)
    story.fault("fault", **fault)
    story.event("delta", cursor(100, 1, 3), text=TEXT[2])
    story.end(cursor(100, 1, 4), "".join(TEXT))
    story.done()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["role"])
def test_a_fault_on_the_way_of_a_reply_in_mid_stream_is_a_hit(story: Story, fault: dict[str, Any]) -> None:
    struck(story, **fault)
    assert story.broken() == set()


@pytest.mark.parametrize(
    "fault",
    [
        {"role": "engine", "pids": [31]},
        {"role": "worker", "pids": []},
        {"role": "gateway", "pids": [21]},
        {"role": "connection", "connections": [["a", 2], ["b", 1]]},
        {"role": "none"},
    ],
    ids=lambda fault: fault["role"],
)
def test_a_fault_elsewhere_is_none(story: Story, fault: dict[str, Any]) -> None:
    struck(story, **fault)
    assert story.broken() == {"fault_hit"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["role"])
def test_a_fault_at_another_time_is_none(story: Story, fault: dict[str, Any]) -> None:
    story.lease("s1", "m1", 100)
    story.add("gateway-20", "wrote", session="s1", generation=100, attempt=1, first=0, count=3, index=0, connection=1)
    story.ask()
    story.fault("fault", **fault)
    story.begin(pieces=0)
    story.fault("fault", **fault)
    story.event("delta", cursor(100, 1, 1), text=TEXT[0])
    story.end(cursor(100, 1, 2), TEXT[0], reason="length")
    story.fault("fault", **fault)
    story.done()
    assert story.broken() == {"fault_hit"}


def test_a_reply_that_has_passed_on_to_another_worker_is_not_hit(story: Story) -> None:
    story.lease("s1", "m1", 100, pid=30)
    story.lease("s1", "m1", 100, pid=31, attempt=2)
    story.ask()
    story.begin(pieces=2)
    story.fault("fault", "engine", pids=[30])
    story.event("delta", cursor(100, 1, 3), text=TEXT[2])
    story.end(cursor(100, 1, 4), "".join(TEXT))
    story.done()
    assert story.broken() == {"fault_hit"}


def test_a_process_that_killed_itself_as_it_was_told_is_a_hit(story: Story) -> None:
    story.chat()
    story.lease("s1", "m1", 100, pid=31)
    story.add("worker-31", "crashed", point="claimed", **ATTEMPT)
    story.fault("fault", "engine", pids=[31])
    assert story.broken() == set()


@pytest.mark.parametrize("later", [-0.5, 5.0])
def test_a_process_that_killed_itself_at_another_time_is_none(story: Story, later: float) -> None:
    """Half a second behind the fault, and long before it."""
    story.chat()
    story.add("worker-31", "crashed", point="claimed", **ATTEMPT)
    story.t += later
    story.fault("fault", "engine", pids=[31])
    assert story.broken() == {"fault_hit"}
