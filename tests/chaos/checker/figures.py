"""The run in numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.hits import Hits


class Spread(NamedTuple):
    """A set of measured times, in seconds; all 0 where there are none."""

    number: int
    p50: float
    p99: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Percentiles are the smallest value that so many do not exceed."""
        if not values:
            return Spread(0, 0.0, 0.0, 0.0)
        ordered = sorted(values)
        return Spread(len(ordered), _share(ordered, 50), _share(ordered, 99), ordered[-1])


def _share(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Figures(NamedTuple):
    """Counts over the whole run. `gaps` is by name of fault: see Hits."""

    clients: int
    messages: int  # that were sent, once each
    generations: int
    events: int  # that JSON clients got, replays included
    terminals: dict[str, int]  # by finish reason, or `error <code>`
    lost_said: int  # messages whose loss was said
    takeovers: int
    refused_appends: int  # as fenced
    zombies: int  # attempts that had an append refused
    memories: int  # of the broker
    cancel_latency: Spread  # from a client's cancel to the stop of the engine
    gaps: dict[str, Spread]


def figures_of(evidence: Evidence, hits: Mapping[str, Hits]) -> Figures:
    """Count."""
    sessions = evidence.sessions
    stored = [event for session in sessions for event in session.stored]
    fenced = [record for record in evidence.seen_by("worker", "append") if record["answer"] == "fenced"]
    return Figures(
        clients=len(evidence.clients),
        messages=sum(1 for _ in evidence.asks()) + sum(len(connection.sent) for connection in evidence.plain),
        generations=len({(r["session"], r["generation"]) for r in evidence.seen_by("gateway", "accepted")}),
        events=sum(len(session.arrivals) for session in sessions),
        terminals=dict(sorted(Counter(event.reason for event in stored if event.terminal).items())),
        lost_said=_lost_said(evidence),
        takeovers=sum(event.type == "takeover" for event in stored),
        refused_appends=len(fenced),
        zombies=len({(r["session"], r["generation"], r["attempt"], r["nonce"]) for r in fenced}),
        memories=len(evidence.memories),
        cancel_latency=Spread.of(cancel_latencies(evidence)),
        gaps={name: Spread.of(hit.gaps) for name, hit in hits.items()},
    )


def _lost_said(evidence: Evidence) -> int:
    lost = 0
    for session, ask in evidence.asks():
        ended = any(reply.terminal for reply in session.replies_of(ask.id))
        lost += bool(ask.accepted and not ended and session.loss_behind(ask.accepted[-1].t, ask.id))
    return lost + sum(len(connection.losses) for connection in evidence.plain)


def cancel_latencies(evidence: Evidence) -> list[float]:
    """Seconds from the first cancel that a client sent to the stop of the engine, for replies that a worker had."""
    heard: dict[tuple[str, str], float] = {}
    for record in evidence.seen_by("worker", "heard_cancel"):
        heard.setdefault((record["session"], record["id"]), record.t)
    found = []
    for session, ask in evidence.asks():
        stopped = heard.get((session.id, ask.id))
        if ask.cancels and stopped is not None:
            found.append(max(0.0, stopped - min(record.t for record in ask.cancels)))
    return found
