"""What workers did: each message one generation, and no work for a reply that was stopped."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record
from tests.chaos.checker.violation import Violation

TERMINAL = 4  # the flag of an item that ends its generation


def idempotent(evidence: Evidence) -> Iterator[Violation]:
    """One memory of the broker gives a message one generation, however often it is sent."""
    found: dict[tuple[str, str], dict[int, Record]] = defaultdict(dict)
    records = [*evidence.seen_by("gateway", "accepted"), *evidence.seen_by("worker", "leased")]
    for record in sorted(records, key=lambda record: record.t):
        found[record["session"], record["id"]].setdefault(record["generation"], record)
    for (session, id), generations in found.items():
        lives: dict[int, list[Record]] = defaultdict(list)
        for record in generations.values():
            lives[evidence.memory_at(record.t)].append(record)
        for same in lives.values():
            if len(same) > 1:
                yield Violation("idempotent", f"{session}/{id}", "ran in several generations", tuple(same[:3]))


def stop_stops(evidence: Evidence) -> Iterator[Violation]:
    """After a worker has heard a cancel its engine makes nothing more, it sends the terminal alone (and what was on its
    way), and its receipt is true to its own counter."""
    heard = {_attempt(record): record for record in evidence.seen_by("worker", "heard_cancel")}
    yield from _late_pieces(evidence)
    yield from _late_flushes(evidence, heard)
    yield from _receipts(evidence, heard)


def _attempt(record: Record) -> tuple[str, int, int, str]:
    return record["session"], record["generation"], record["attempt"], record["nonce"]


def _late_pieces(evidence: Evidence) -> Iterator[Violation]:
    told = set()
    for record in evidence.seen_by("worker", "late_piece"):
        if _attempt(record) not in told:
            told.add(_attempt(record))
            sentence = "the engine went on behind its abort"
            yield Violation("stop_stops", f"{record['session']}/{record['id']}", sentence, (record,))


def _late_flushes(evidence: Evidence, heard: dict[tuple[str, int, int, str], Record]) -> Iterator[Violation]:
    flushes: dict[tuple[str, int, int, str], list[Record]] = defaultdict(list)
    for record in evidence.seen_by("worker", "append"):
        key = _attempt(record)
        if key in heard and record.t > heard[key].t and record["answer"] == "ok":
            flushes[key].append(record)
    for key, records in flushes.items():
        texts = [record for record in records if record["count"] > bool(record["flags"] & TERMINAL)]
        if len(texts) > 1:
            sentence = f"{len(texts)} flushes behind the cancel"
            yield Violation("stop_stops", f"{key[0]}/{records[0]['id']}", sentence, (heard[key], *texts[:2]))


def _receipts(evidence: Evidence, heard: dict[tuple[str, int, int, str], Record]) -> Iterator[Violation]:
    for session in evidence.sessions:
        for reply in session.replies.values():
            terminal = reply.terminal
            receipt = terminal.frame.get("receipt") if terminal is not None else None
            if terminal is None or receipt is None:
                continue
            position = terminal.position
            counter = heard.get((session.id, position.generation, position.attempt, position.nonce))
            if counter is not None and receipt["generated"] != counter["generated"]:
                sentence = f"its receipt says {receipt['generated']} pieces, its worker counted {counter['generated']}"
                yield Violation("stop_stops", reply.subject, sentence, (terminal.record, counter))
            if reply.whole and receipt["delivered"] != len(reply.standing):
                sentence = f"its receipt says {receipt['delivered']} delivered, the client has {len(reply.standing)}"
                yield Violation("stop_stops", reply.subject, sentence, (terminal.record,))
