"""A session over all connections that any client had to it."""

from collections.abc import Iterable
from functools import cached_property

from tests.chaos.checker.connection import Connection
from tests.chaos.checker.event import Event
from tests.chaos.checker.record import Record


class Ask:
    """A message: what was sent, and what was said of it besides its events."""

    def __init__(self, id: str, content: str, client: str) -> None:
        self.id = id
        self.content = content
        self.client = client
        self.sent: list[Record] = []
        self.accepted: list[Record] = []
        self.cancels: list[Record] = []
        self.refused: list[Record] = []


class Reply:
    """One generation as clients held it: `events` in the order of arrival, each once, but for what one connection got
    twice. Complete before anything is asked of it."""

    def __init__(self, session: str, generation: int, id: str) -> None:
        self.session = session
        self.generation = generation
        self.id = id
        self.events: list[Event] = []

    @property
    def subject(self) -> str:
        """What to call it."""
        return f"{self.session}/{self.id}"

    @cached_property
    def terminal(self) -> Event | None:
        """Its first one."""
        return next((event for event in self.events if event.terminal), None)

    @cached_property
    def first_delta(self) -> Event | None:
        """The first piece of text."""
        return next((event for event in self.events if event.type == "delta"), None)

    @property
    def whole(self) -> bool:
        """Whether it was seen from its beginning."""
        first = self.events[0]
        return first.type == "started" or (first.terminal and first.position.seq == 0)

    @property
    def text(self) -> str:
        """As a reader holds it."""
        return "".join(event.text for event in self.standing)

    @property
    def standing(self) -> list[Event]:
        """The deltas that no takeover made void."""
        found: list[Event] = []
        for event in self.events:
            if event.type == "takeover" and event.frame["exact"] is False:
                found.clear()
            elif event.type == "delta":
                found.append(event)
        return found


class Session:
    """What its connections saw, and what was asked over them."""

    def __init__(self, id: str, connections: Iterable[Connection]) -> None:
        self.id = id
        self.connections = sorted(connections, key=lambda connection: connection.opened.t)
        self.asks = self._read_asks()

    def _read_asks(self) -> dict[str, Ask]:
        asks: dict[str, Ask] = {}
        for connection in self.connections:
            for record in connection.sent("message"):
                frame = record["frame"]
                ask = asks.setdefault(frame["id"], Ask(frame["id"], frame["content"], connection.client))
                ask.sent.append(record)
        for connection in self.connections:
            self._read_answers(connection, asks)
        return asks

    def _read_answers(self, connection: Connection, asks: dict[str, Ask]) -> None:
        for record in connection.records:
            frame = record.get("frame", {})
            ask = asks.get(str(frame.get("id")))
            if ask is None:
                continue
            if record.what == "got" and frame["type"] == "accepted":
                ask.accepted.append(record)
            elif record.what == "got" and frame["type"] == "error" and "cursor" not in frame:
                ask.refused.append(record)
            elif record.what == "sent" and frame["type"] == "cancel":
                ask.cancels.append(record)

    @cached_property
    def losses(self) -> list[Record]:
        """Where a client was told that events are gone, in the order of time."""
        said = [record for connection in self.connections for record in connection.losses]
        return sorted(said, key=lambda record: record.t)

    def loss_behind(self, t: float, id: str) -> Record | None:
        """Where, after `t`, the loss of a message was said."""
        for record in self.losses:
            if record.t >= t and id not in record["frame"].get("open", ()):
                return record
        return None

    @cached_property
    def arrivals(self) -> list[tuple[Connection, Event]]:
        """All events of all connections in the order of time."""
        found = [(connection, event) for connection in self.connections for event in connection.events]
        return sorted(found, key=lambda arrival: arrival[1].t)

    @cached_property
    def stored(self) -> list[Event]:
        """Each event once, as it came first, in the order of positions: what the queue must have held."""
        first: dict[str, Event] = {}
        for _, event in self.arrivals:
            first.setdefault(event.cursor, event)
        return sorted(first.values(), key=lambda event: event.position)

    @cached_property
    def places(self) -> list[tuple[int, int, int]]:
        """Those of `stored`, to search in."""
        return [event.position.place for event in self.stored]

    @cached_property
    def replies(self) -> dict[int, Reply]:
        """By generation. Replays count only where they brought something new."""
        found: dict[int, Reply] = {}
        seen: dict[str, Connection] = {}
        for connection, event in self.arrivals:
            if seen.setdefault(event.cursor, connection) is not connection:
                continue
            generation = event.position.generation
            reply = found.setdefault(generation, Reply(self.id, generation, event.id))
            reply.events.append(event)
        return found

    def replies_of(self, id: str) -> list[Reply]:
        """Those to one message: more than one only where a loss came between."""
        return [reply for reply in self.replies.values() if reply.id == id]
