"""Which replies a fault really hit: they were in mid-stream, and what was struck was on their way."""

from bisect import bisect_right
from collections import defaultdict
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record
from tests.chaos.checker.session import Reply, Session

ON_ITS_WAY = 0.5  # seconds that an event may take from a worker to a client


JUST = 1.0  # seconds from a process's end at a crash point to the record of that fault, at most


class Hits(NamedTuple):
    """Of all faults of one name. `gaps`: for each reply that was hit in mid-stream, the longest silence in seconds that
    its client saw from the fault on, counted from the last event before it."""

    caused: int
    midstream: int
    crashed: int  # engine processes that killed themselves at the moment that was asked for
    gaps: list[float]

    @property
    def replies(self) -> int:
        """How many were hit."""
        return self.midstream + self.crashed


@lru_cache(maxsize=1)  # the verdict and a rule ask for the same
def hits_of(evidence: Evidence) -> dict[str, Hits]:
    """By name of fault, for those that were caused."""
    ways = Ways(evidence)
    found: dict[str, Hits] = {}
    for name in dict.fromkeys(record["name"] for record in evidence.faults):
        faults = [record for record in evidence.faults if record["name"] == name]
        struck = [(fault, reply) for fault in faults for reply in ways.midstream(fault)]
        crashed = sum(ways.crashes(fault) for fault in faults)
        found[name] = Hits(len(faults), len(struck), crashed, [gap for f, r in struck for gap in _gap(f, r)])
    return found


def _gap(fault: Record, reply: Reply) -> list[float]:
    """None where nothing came any more. What was on its way when the victim was struck still arrives: the silence may
    begin a little later."""
    times = sorted(event.t for event in reply.events)
    silences = [until - since for since, until in pairwise(times) if since <= fault.t + ON_ITS_WAY and until > fault.t]
    return [max(silences)] if silences else []


class Ways:
    """The way of each reply, moment by moment: its worker, its gateway, its connections."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def midstream(self, fault: Record) -> list[Reply]:
        """The replies that were in mid-stream and had the victim on their way."""
        return [
            reply
            for session in self._evidence.sessions
            for reply in session.replies.values()
            if _is_midstream(reply, fault.t) and self._struck(session, reply, fault)
        ]

    def crashes(self, fault: Record) -> int:
        """How many of the victims had just killed themselves at a crash point."""
        ends = [self._crashed[pid] for pid in _pids(fault) if pid in self._crashed]
        return sum(fault.t - JUST <= t <= fault.t for t in ends)

    def _struck(self, session: Session, reply: Reply, fault: Record) -> bool:
        role, pids = fault["victim"]["role"], _pids(fault)
        if role in ("worker", "engine"):
            return _latest(self._leases.get((session.id, reply.generation)), fault.t) in pids
        if role == "gateway":
            return _latest(self._writes.get((session.id, reply.generation)), fault.t) in pids
        if role == "connection":
            struck = [tuple(pair) for pair in fault["victim"].get("connections", ())]
            return any((c.client, c.number) in struck and c.lasts_at(fault.t) for c in session.connections)
        return bool(role == "broker")

    @cached_property
    def _crashed(self) -> dict[int, float]:
        return {int(record.name): record.t for record in self._evidence.seen_by("worker", "crashed")}

    @cached_property
    def _leases(self) -> dict[tuple[str, int], list[tuple[float, int]]]:
        return _by_reply(self._evidence.seen_by("worker", "leased"))

    @cached_property
    def _writes(self) -> dict[tuple[str, int], list[tuple[float, int]]]:
        return _by_reply(self._evidence.seen_by("gateway", "wrote"))


def _is_midstream(reply: Reply, t: float) -> bool:
    """After its first piece of text and before its end; for one that never ended, as long as it was alive."""
    first, terminal = reply.first_delta, reply.terminal
    last = reply.events[-1] if terminal is None else terminal
    return first is not None and first.t < t and (terminal is None or t < last.t)


def _pids(fault: Record) -> set[int]:
    victim: dict[str, Any] = fault["victim"]
    return set(victim.get("pids") or ([victim["pid"]] if "pid" in victim else []))


def _by_reply(records: list[Record]) -> dict[tuple[str, int], list[tuple[float, int]]]:
    """When which process had to do with a reply, in the order of time."""
    found: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for record in records:
        found[record["session"], record["generation"]].append((record.t, int(record.name)))
    return found


def _latest(ways: list[tuple[float, int]] | None, t: float) -> int | None:
    """The process that had it at a moment."""
    if ways is None:
        return None
    at = bisect_right(ways, (t, float("inf")))
    return ways[at - 1][1] if at else None
