"""How replies end: each accepted message once, and nothing comes behind that."""

from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.session import Ask, Reply, Session
from tests.chaos.checker.violation import Violation


def accepted_one_terminal(evidence: Evidence) -> Iterator[Violation]:
    """An accepted message ends in exactly one terminal event; a further one only where a loss was said before it.

    Where the broker really lost its memory a missing terminal is a matter of `loss_is_said`.
    """
    for session, ask in evidence.asks():
        yield from _missing(evidence, session, ask)
        yield from _too_many(session, ask)


def _missing(evidence: Evidence, session: Session, ask: Ask) -> Iterator[Violation]:
    if ask.accepted and unanswered(session, ask) and not lost_behind(evidence, session, ask):
        records = (ask.accepted[-1],)
        yield Violation("accepted_one_terminal", f"{session.id}/{ask.id}", "was accepted and never ended", records)


def unanswered(session: Session, ask: Ask) -> bool:
    """Whether an accepted message neither ended nor was said to be lost."""
    if any(reply.terminal for reply in session.replies_of(ask.id)):
        return False
    return session.loss_behind(ask.accepted[-1].t, ask.id) is None


def lost_behind(evidence: Evidence, session: Session, ask: Ask) -> bool:
    """Whether the memory of the broker that accepted a message is gone."""
    return evidence.memory_at(evidence.accepted_at(session, ask)) < len(evidence.memories)


def _too_many(session: Session, ask: Ask) -> Iterator[Violation]:
    ends = [event for event in session.stored if event.terminal and event.id == ask.id]
    for reply in session.replies_of(ask.id):
        same = [event for event in ends if event.position.generation == reply.generation]
        if len(same) > 1:
            records = tuple(event.record for event in same)
            yield Violation("accepted_one_terminal", reply.subject, "ended more than once", records)
    generations = {event.position.generation for event in ends}
    if len(generations) > 1 + len(session.losses):
        records = tuple(event.record for event in ends)
        yield Violation("accepted_one_terminal", f"{session.id}/{ask.id}", "ran more than once", records)


def nothing_after_terminal(evidence: Evidence) -> Iterator[Violation]:
    """Behind a terminal no event of that reply follows. What a user cancelled is a matter of `nothing_after_cancel`."""
    for session in evidence.sessions:
        for reply in session.replies.values():
            if not _cancelled(session, reply):
                yield from _behind_terminal(session, reply, "nothing_after_terminal")


def nothing_after_cancel(evidence: Evidence) -> Iterator[Violation]:
    """After the answer to a cancel, be it `cancelled` or a terminal that came first, no event of that reply follows."""
    for session in evidence.sessions:
        for reply in session.replies.values():
            if _cancelled(session, reply):
                yield from _behind_terminal(session, reply, "nothing_after_cancel")


def _cancelled(session: Session, reply: Reply) -> bool:
    ask = session.asks.get(reply.id)
    return ask is not None and bool(ask.cancels)


def _behind_terminal(session: Session, reply: Reply, rule: str) -> Iterator[Violation]:
    """By the order of arrival on each connection, and by the order of positions over all."""
    for connection in session.connections:
        ended = False
        for event in connection.events:
            if event.position.generation != reply.generation:
                continue
            if ended and not event.terminal:
                yield Violation(rule, reply.subject, f"{event.type} came behind the terminal", (event.record,))
            ended = ended or event.terminal
    terminal = reply.terminal
    for event in reply.events if terminal is not None else ():
        if terminal is not None and event.position > terminal.position and not event.terminal:
            yield Violation(rule, reply.subject, f"{event.type} stands behind the terminal", (event.record,))
