"""Loss is said, and only where there is one."""

from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.rules.endings import lost_behind, unanswered
from tests.chaos.checker.violation import Violation


def loss_is_said(evidence: Evidence) -> Iterator[Violation]:
    """Where the broker lost its memory, an accepted message that did not end is said to be lost."""
    for session, ask in evidence.asks():
        if ask.accepted and unanswered(session, ask) and lost_behind(evidence, ask.accepted[0].t):
            yield Violation("loss_is_said", f"{session.id}/{ask.id}", "was lost in silence", (ask.accepted[0],))


def loss_is_true(evidence: Evidence) -> Iterator[Violation]:
    """A loss is said only after the broker began a new memory, or after the time for which replies are kept."""
    for session in evidence.sessions:
        for record in session.losses:
            if evidence.memory_at(record.t) < 2 and not _expired(evidence, session.connections[0].opened.t, record.t):
                yield Violation("loss_is_true", session.id, "a loss was said where nothing was lost", (record,))
    for connection in evidence.plain:
        for record in connection.losses:
            if evidence.memory_at(record.t) < 2:
                yield Violation("loss_is_true", connection.subject, "a loss was said where nothing was lost", (record,))


def _expired(evidence: Evidence, since: float, t: float) -> bool:
    return t - since > float(evidence.settings.get("retention", float("inf")))
