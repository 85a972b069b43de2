"""Errors are for what nobody could help."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.checker.connection import Connection
from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record
from tests.chaos.checker.violation import Violation

OURS = ("internal", "engine_error", "unknown_type", "invalid_message")  # to a client that says all right
FRUITLESS = 3  # attempts in a row that got nowhere, before a reply is given up


def no_error(evidence: Evidence) -> Iterator[Violation]:
    """No reply ends in an error, but for `worker_lost` after at least three attempts; and no client is told of a
    mistake that is ours, nor that an id is unknown, unless the broker has lost its memory; nor even then of what waits
    in the line of that very connection."""
    attempts = Counter((r["session"], r["generation"]) for r in evidence.seen_by("worker", "leased"))
    for session in evidence.sessions:
        for event in session.stored:
            tried = attempts[session.id, event.position.generation]
            if event.type == "error" and not (event.frame["code"] == "worker_lost" and tried >= FRUITLESS):
                sentence = f"ended in {event.frame['code']} after {tried} attempts"
                yield Violation("no_error", f"{session.id}/{event.id}", sentence, (event.record,))
        for connection in session.connections:
            for record in connection.got("error"):
                code = record["frame"]["code"]
                forgetful = evidence.memory_at(record.t) > 1
                strange = code == "unknown_id" and (not forgetful or _in_line(connection, record))
                if "cursor" not in record["frame"] and (code in OURS or strange):
                    yield Violation("no_error", session.id, f"was told {code}", (record,))
    yield from _plain(evidence)


def _in_line(connection: Connection, refusal: Record) -> bool:
    """Whether an id that is called unknown was asked for on this connection before each of its cancels, and had no
    answer ever."""
    waits = False
    for record in connection.records[: connection.records.index(refusal)]:
        frame = record.get("frame", {})
        if frame.get("id") != refusal["frame"]["id"]:
            continue
        if record.what == "got" or (frame["type"] == "cancel" and not waits):
            return False
        waits = True
    return waits


def _plain(evidence: Evidence) -> Iterator[Violation]:
    for connection in evidence.plain:
        for record in connection.got:
            code = str(record["frame"]["text"]).removeprefix("error: ").partition(":")[0]
            if code in OURS and record["frame"]["text"].startswith("error: "):
                yield Violation("no_error", connection.subject, f"was told {code}", (record,))
