"""Positions: without a hole, never back, the same again when they are read again; and nothing of a fenced attempt."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any

from tests.chaos.checker.connection import Connection
from tests.chaos.checker.event import Event, Position, is_cursor
from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.session import Session
from tests.chaos.checker.violation import Violation


def contiguous(evidence: Evidence) -> Iterator[Violation]:
    """On each connection the cursor strictly increases, an attempt's positions have no hole, and what any other
    connection saw in between was seen here, too. An attempt begins with `started`, `takeover` or its terminal."""
    for session in evidence.sessions:
        for connection in session.connections:
            yield from _strange(connection)
            yield from (v for v in walk(evidence, session, connection) if v.rule == "contiguous")
        yield from _openings(session)


def zombie_invisible(evidence: Evidence) -> Iterator[Violation]:
    """Nothing that was refused as fenced is seen by any client, and nothing of an attempt behind a newer one."""
    refused = _fenced(evidence)
    for session in evidence.sessions:
        for connection in session.connections:
            yield from (v for v in walk(evidence, session, connection) if v.rule == "zombie_invisible")
        for event in session.stored:
            if (session.id, *event.position) in refused:
                sentence = "an event is visible that the broker refused"
                yield Violation("zombie_invisible", f"{session.id}/{event.id}", sentence, (event.record,))


def replay_equals_live(evidence: Evidence) -> Iterator[Violation]:
    """An event that is read again is the same, field for field; a replay goes from its cursor to the end."""
    for session in evidence.sessions:
        first = {event.cursor: event for event in session.stored}
        for connection, event in session.arrivals:
            live = first[event.cursor]
            if event.frame != live.frame:
                subject = f"{connection.client}/{event.id}"
                yield Violation("replay_equals_live", subject, "differs from before", (live.record, event.record))
        for connection in session.connections:
            if connection.replay:
                yield from (v for v in walk(evidence, session, connection) if v.rule == "replay_equals_live")
                yield from _short(session, connection)


def _strange(connection: Connection) -> Iterator[Violation]:
    for record in connection.got():
        cursor = record["frame"].get("cursor")
        if cursor is not None and not is_cursor(cursor):
            yield Violation("contiguous", connection.client, f"{cursor!r} is no cursor", (record,))


def walk(evidence: Evidence, session: Session, connection: Connection) -> Iterator[Violation]:
    """Follow one connection's events and compare each step with what is known to be stored."""
    last = Position.of(connection.after) if connection.after is not None else None
    losses = sorted(record.t for record in connection.losses)
    excused = connection.after is None and _may_miss(evidence, session)
    for event in connection.events:
        if losses and losses[0] <= event.t:
            losses.pop(0)
            excused = True  # for the next step
        here = event.position
        if last is not None and here.place <= last.place:
            yield _backwards(session, event, last)
            continue
        if not _follows(here, last) and not (excused and here.seq == 0):
            sentence = f"a hole before {event.cursor}" + ("" if last is None else f", behind {_text(last)}")
            yield Violation("contiguous", f"{session.id}/{event.id}", sentence, (event.record,))
        elif not excused:
            yield from _skipped(session, connection, last, event)
        last, excused = here, False


def _may_miss(evidence: Evidence, session: Session) -> bool:
    """Whether a reader without a cursor may find that old replies are gone."""
    kept = float(evidence.settings.get("retention", float("inf")))
    lasted = session.connections[-1].opened.t - session.connections[0].opened.t
    return bool(session.losses) or len(evidence.memories) > 1 or lasted > kept


def _follows(here: Position, last: Position | None) -> bool:
    if last is not None and (here.generation, here.attempt) == (last.generation, last.attempt):
        return here.seq == last.seq + 1 and here.nonce == last.nonce
    return here.seq == 0


def _backwards(session: Session, event: Event, last: Position) -> Violation:
    here = event.position
    older = here.generation == last.generation and here.attempt < last.attempt
    rule = "zombie_invisible" if older else "contiguous"
    return Violation(rule, f"{session.id}/{event.id}", f"{event.cursor} behind {_text(last)}", (event.record,))


def _skipped(session: Session, connection: Connection, last: Position | None, event: Event) -> Iterator[Violation]:
    """Events that others saw between two that came here one after the other."""
    places = session.places
    begin = 0 if last is None else bisect_right(places, last.place)
    between = session.stored[begin : bisect_left(places, event.position.place)]
    came = {event.cursor for event in connection.events} if between else set()  # at the wrong time, perhaps
    missed = [event for event in between if event.cursor not in came]
    if missed:
        rule = "replay_equals_live" if connection.replay else "contiguous"
        sentence = f"{len(missed)} events before {event.cursor} did not come here"
        yield Violation(rule, f"{session.id}/{event.id}", sentence, (event.record, missed[0].record))


def _short(session: Session, connection: Connection) -> Iterator[Violation]:
    """A replay that its client ended must have come to the end of what was there when it began."""
    known = [event for event in session.stored if event.t < connection.opened.t]
    after = Position.of(connection.after).place if connection.after is not None else (0, 0, 0)
    reached = max([after, *(event.position.place for event in connection.events)])
    if known and not connection.cut and not connection.losses and reached < known[-1].position.place:
        sentence = f"a replay ended before {known[-1].cursor}"
        yield Violation("replay_equals_live", session.id, sentence, (connection.opened, known[-1].record))


def _openings(session: Session) -> Iterator[Violation]:
    """`started` first and only once, every later attempt with a takeover, if not with its terminal."""
    begun: set[int] = set()
    for event in session.stored:
        generation, _, seq, _ = event.position
        wanted = "takeover" if generation in begun else "started"
        opens = event.type in ("started", "takeover")
        if (seq == 0 and not event.terminal and event.type != wanted) or (seq > 0 and opens):
            sentence = f"{event.type} where {wanted if seq == 0 else 'something else'} should be"
            yield Violation("contiguous", f"{session.id}/{event.id}", sentence, (event.record,))
        begun.add(generation)


def _fenced(evidence: Evidence) -> set[tuple[Any, ...]]:
    """What the broker refused: (session, generation, attempt, seq, nonce). An item that was sent before without an
    answer may have been stored then."""
    unknown, refused = set(), set()
    for record in evidence.seen_by("worker", "append"):
        attempt = (record["session"], record["generation"], record["attempt"])
        places = {(*attempt, record["first"] + at, record["nonce"]) for at in range(record["count"])}
        if record["answer"] in ("unknown", "ok"):
            unknown |= places
        elif record["answer"] == "fenced":
            refused |= places
    return refused - unknown


def _text(position: Position) -> str:
    return "-".join(map(str, position))
