"""All that is known of a run, ordered by who saw it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from tests.chaos.checker.connection import Connection, connections_of
from tests.chaos.checker.plain import PlainConnection, plain_connections_of
from tests.chaos.checker.record import Record
from tests.chaos.checker.session import Ask, Session


class Evidence:
    """Records, and views of them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.by_role: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            self.by_role[record.role].append(record)

    # --- the harness -------------------------------------------------------------------------------------------------

    def harness(self, what: str) -> list[Record]:
        """Its records of one kind."""
        return [record for record in self.by_role["harness"] if record.what == what]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the service was set to; empty where the run was not described."""
        runs = self.harness("run")
        return dict(runs[0].get("settings", {})) if runs else {}

    @property
    def faults(self) -> list[Record]:
        """Those that were caused, at their beginning."""
        return [record for record in self.harness("fault") if record["state"] == "begun"]

    @property
    def not_run(self) -> dict[str, str]:
        """Those that could not be caused, and why."""
        return {r["name"]: str(r.get("why", "")) for r in self.harness("fault") if r["state"] == "not_run"}

    # --- clients -----------------------------------------------------------------------------------------------------

    @cached_property
    def clients(self) -> dict[str, list[Record]]:
        """Each client's records, by its name."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.by_role["client"]:
            found[record.name].append(record)
        return dict(found)

    @cached_property
    def sessions(self) -> list[Session]:
        """Those that any JSON client knew of. Without a name: what was sent before a session came."""
        found: dict[str, list[Connection]] = defaultdict(list)
        for client, records in self.clients.items():
            plain = _plain_numbers(records)
            for connection in connections_of(r for r in records if r.get("connection") not in plain):
                found[connection.session or f"{client} (connection {connection.number})"].append(connection)
        return [Session(id, connections) for id, connections in found.items()]

    @cached_property
    def plain(self) -> list[PlainConnection]:
        """All plain connections."""
        found = []
        for records in self.clients.values():
            plain = _plain_numbers(records)
            found += plain_connections_of(r for r in records if r.get("connection") in plain)
        return found

    @cached_property
    def owners(self) -> dict[str, tuple[str, str]]:
        """By content of a message: client and id."""
        found = {}
        for session in self.sessions:
            found.update({ask.content: (ask.client, ask.id) for ask in session.asks.values()})
        for connection in self.plain:
            found.update({r["frame"]["content"]: (connection.client, str(r["frame"]["id"])) for r in connection.sent})
        return found

    def asks(self) -> Iterator[tuple[Session, Ask]]:
        """Every message of the JSON clients."""
        for session in self.sessions:
            for ask in session.asks.values():
                yield session, ask

    def accepted_at(self, session: Session, ask: Ask) -> float:
        """When a message was accepted, the last time that its client heard so: by the gateway's clock, for the client
        may hear late."""
        heard = ask.accepted[-1].t
        said = [t for t in self._acceptances.get((session.id, ask.id), ()) if t <= heard]
        return said[-1] if said else heard

    @cached_property
    def _acceptances(self) -> dict[tuple[str, str], list[float]]:
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for record in self.seen_by("gateway", "accepted"):
            found[record["session"], record["id"]].append(record.t)
        return found

    # --- the service's own processes ---------------------------------------------------------------------------------

    def seen_by(self, role: str, what: str) -> list[Record]:
        """What processes of a kind saw, in the order of time."""
        return sorted((r for r in self.by_role[role] if r.what == what), key=lambda record: record.t)

    @cached_property
    def memories(self) -> list[float]:
        """When each memory of the broker began, in monotonic seconds."""
        return [record.t for record in self.seen_by("broker", "memory")]

    def memory_at(self, t: float) -> int:
        """The number of the memory that a moment belongs to."""
        return sum(born <= t for born in self.memories)


def _plain_numbers(records: Iterable[Record]) -> set[int]:
    """The plain connections among those of a client."""
    return {r["connection"] for r in records if r.what == "connect" and r["dialect"] == "plain"}
