"""The run as a whole: it did something, its faults struck, its witnesses worked, and nothing is left behind."""

from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.hits import hits_of
from tests.chaos.checker.record import Record
from tests.chaos.checker.violation import Violation

DESCRIPTORS = 3  # that a process may hold more than before the load: what it opens once, when it is first needed
THREADS = 1
MEMORY = 50_000_000  # bytes that a process may have grown by
KEPT = 20_000  # bytes besides, per generation: replies are kept for a while
COPIES = 2  # of the replies' texts besides


def load(evidence: Evidence) -> Iterator[Violation]:
    """A run in which nobody was answered shows nothing."""
    if not evidence.harness("run"):
        yield Violation("load", "run", "the run is not described")
    answered = any(reply.terminal for session in evidence.sessions for reply in session.replies.values())
    if not answered and not any(connection.got for connection in evidence.plain):
        yield Violation("load", "run", "no message was answered")


def witness(evidence: Evidence) -> Iterator[Violation]:
    """Those who watched the service's processes did not fail, and there were some of each kind."""
    for record in evidence.by_role["witness"]:
        if record.what == "witness_failed":
            yield Violation("witness", f"process {record.name}", record["error"], (record,))
    for role, what in (("broker", "memory"), ("gateway", "drained"), ("worker", "leased")):
        if not evidence.seen_by(role, what):
            yield Violation("witness", role, "no process of this kind told what it saw")


def fault_hit(evidence: Evidence) -> Iterator[Violation]:
    """Every kind of fault that was caused hit at least one reply over the whole run."""
    for name, hits in hits_of(evidence).items():
        if hits.replies == 0:
            yield Violation("fault_hit", name, f"was caused {hits.caused} times and hit nothing")


def quiet_is_empty(evidence: Evidence) -> Iterator[Violation]:
    """When all clients are gone and all is idle nothing waits, runs or is held: descriptors and threads are as before
    the load, memory has grown within its bound."""
    quiet = evidence.harness("quiet")
    if not quiet:
        yield Violation("quiet_is_empty", "run", "nobody looked at what is left behind")
        return
    record = quiet[-1]
    for name in ("queued", "running"):
        if record["stats"][name] != 0:
            yield Violation("quiet_is_empty", "broker", f"{name}: {record['stats'][name]}", (record,))
    generations = sum(len(session.replies) for session in evidence.sessions)
    texts = sum(len(reply.text) for session in evidence.sessions for reply in session.replies.values())
    memory = MEMORY + KEPT * generations + COPIES * texts
    yield from _grown(record, {"fds": DESCRIPTORS, "threads": THREADS, "rss": memory})


def _grown(record: Record, bounds: dict[str, int]) -> Iterator[Violation]:
    most: dict[tuple[str, str], dict[str, int]] = {}
    for process in record["base"]:
        key = process["role"], process["name"]
        known = most.setdefault(key, dict.fromkeys(bounds, 0))
        most[key] = {name: max(known[name], process[name]) for name in bounds}
    for process in record["processes"]:
        before = most.get((process["role"], process["name"]))
        if before is None:
            yield Violation("quiet_is_empty", str(process["name"]), "is a process that was not there before", (record,))
            continue
        for name, bound in bounds.items():
            if process[name] > before[name] + bound:
                sentence = f"{name} grew from {before[name]} to {process[name]}"
                yield Violation("quiet_is_empty", f"{process['role']} {process['name']}", sentence, (record,))
