"""Loss is said, and only where there is one."""

from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record
from tests.chaos.checker.rules.endings import lost_behind, unanswered
from tests.chaos.checker.session import Ask, Session
from tests.chaos.checker.violation import Violation


def loss_is_said(evidence: Evidence) -> Iterator[Violation]:
    """Where the broker lost its memory, an accepted message that did not end is said to be lost."""
    for session, ask in evidence.asks():
        if ask.accepted and unanswered(session, ask) and lost_behind(evidence, session, ask):
            yield Violation("loss_is_said", f"{session.id}/{ask.id}", "was lost in silence", (ask.accepted[-1],))


def loss_is_true(evidence: Evidence) -> Iterator[Violation]:
    """A loss is said only after the broker began a new memory, or after the time for which replies are kept; and no
    message is excused by the loss of a memory that had not accepted it."""
    for session in evidence.sessions:
        for record in session.losses:
            if evidence.memory_at(record.t) < 2 and not _expired(evidence, session.connections[0].opened.t, record.t):
                yield _untrue(session.id, record)
    for connection in evidence.plain:
        yield from (_untrue(connection.subject, r) for r in connection.losses if evidence.memory_at(r.t) < 2)
    for session, ask in evidence.asks():
        yield from _excused(evidence, session, ask)


def _excused(evidence: Evidence, session: Session, ask: Ask) -> Iterator[Violation]:
    """A message without an end, of which it was said that it is lost."""
    if not ask.accepted or any(reply.terminal for reply in session.replies_of(ask.id)):
        return
    loss = session.loss_behind(ask.accepted[-1].t, ask.id)
    if loss is not None and evidence.memory_at(loss.t) == evidence.memory_at(evidence.accepted_at(session, ask)) > 1:
        yield _untrue(f"{session.id}/{ask.id}", loss)


def _untrue(subject: str, record: Record) -> Violation:
    return Violation("loss_is_true", subject, "a loss was said where nothing was lost", (record,))


def _expired(evidence: Evidence, since: float, t: float) -> bool:
    return t - since > float(evidence.settings.get("retention", float("inf")))
