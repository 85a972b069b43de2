"""A made-up run, told record by record, for tests of the checker."""

import hashlib
from collections.abc import Sequence
from typing import Any

from tests.chaos.checker import RULES
from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record

STEP = 0.01  # seconds between two records
PROCESS = {"role": "gateway", "name": "gateway-0", "pid": 20, "fds": 10, "threads": 2, "rss": 50_000_000}
IDLE = {"sessions": 1, "queued": 0, "running": 0}
NONCE = "0000abcd"


def pieces_of(content: str, chunks: int = 3) -> list[str]:
    """What the echo engine says."""
    return [f"chunk 1: {content}", *(f"\nchunk {number}: {content}" for number in range(2, chunks + 1))]


def sha256(text: str) -> str:
    """As the service promises it."""
    return hashlib.sha256(text.encode()).hexdigest()


def cursor(generation: int, attempt: int, seq: int, nonce: str = NONCE) -> str:
    """As clients see it."""
    return f"{generation}-{attempt}-{seq}-{nonce}"


class Story:
    """Each call adds a record, a moment after the last one. The run is described at once and ends with `broken`."""

    def __init__(self, **settings: Any) -> None:
        self.records: list[Record] = []
        self.t = 0.0
        self.told_quiet = False
        self.add("harness-run", "run", settings={"echo_chunks": 3, "retention": 900.0, **settings})
        self.add("broker-1", "memory", epoch="e1")
        self.add("gateway-20", "drained", epoch="e1", lost=True, items=0)
        self.lease("somebody", "else", 1)

    def add(self, source: str, what: str, **fields: Any) -> Record:
        """Any record."""
        self.t += STEP
        record = Record(self.t, what, fields, source, len(self.records) + 1)
        self.records.append(record)
        return record

    def pause(self, seconds: float) -> None:
        """Nothing happens."""
        self.t += seconds

    # --- a client ----------------------------------------------------------------------------------------------------

    def connect(self, number: int = 1, client: str = "a", dialect: str = "json", **more: Any) -> None:
        """A connection begins."""
        fields = {"dialect": dialect, "gateway": "gateway-0", "connection": number, **more}
        self.add(f"client-{client}", "connect", **fields)

    def sent(self, type: str, number: int = 1, client: str = "a", **frame: Any) -> None:
        """The client says something."""
        self.add(f"client-{client}", "sent", connection=number, frame={"type": type, **frame})

    def got(self, type: str, number: int = 1, client: str = "a", **frame: Any) -> None:
        """The client hears something."""
        self.add(f"client-{client}", "got", connection=number, frame={"type": type, **frame})

    def text(self, text: str, number: int = 1, client: str = "p") -> None:
        """A plain client hears something."""
        self.add(f"client-{client}", "got", connection=number, frame={"text": text})

    def closed(self, number: int = 1, client: str = "a", by: str = "us") -> None:
        """A connection ends."""
        self.add(f"client-{client}", "closed", connection=number, by=by)

    def done(self, id: str = "m1", client: str = "a") -> None:
        """The client has what it waited for."""
        self.add(f"client-{client}", "done", id=id)

    def gave_up(self, id: str = "m1", client: str = "a") -> None:
        """The client has waited long enough."""
        self.add(f"client-{client}", "gave_up", id=id, after_seconds=30, why="silence")

    # --- longer passages ---------------------------------------------------------------------------------------------

    def session(self, id: str = "s1", number: int = 1, client: str = "a", **more: Any) -> None:
        """The answer to start or resume."""
        fields = {"session_id": id, "resumed": False, "recovered": True, "open": [], **more}
        self.got("session", number, client, **fields)

    def lost(self, number: int = 1, client: str = "a", session: str = "s1", open: Sequence[str] = ()) -> None:
        """Loss is said."""
        self.session(session, number, client, resumed=True, recovered=False, open=list(open))

    def ask(self, id: str = "m1", session: str = "s1", client: str = "a", content: str | None = None) -> None:
        """Connect, send a message, have it accepted."""
        self.connect(client=client)
        self.sent("message", client=client, id=id, content=content or f"{client}/{id}")
        self.session(session, client=client)
        self.got("accepted", client=client, id=id, queue_position=0)

    def event(self, type: str, place: str, number: int = 1, client: str = "a", id: str = "m1", **frame: Any) -> None:
        """An event at a cursor."""
        self.got(type, number, client, id=id, cursor=place, **frame)

    def begin(self, number: int = 1, client: str = "a", id: str = "m1", pieces: int = 3, at: int = 100) -> None:
        """`started` and the first so many pieces of generation `at`."""
        self.event("started", cursor(at, 1, 0), number, client, id, attempt=1, model="echo")
        for seq, text in enumerate(pieces_of(f"{client}/{id}")[:pieces], 1):
            self.event("delta", cursor(at, 1, seq), number, client, id, text=text)

    def end(
        self,
        place: str,
        text: str,
        number: int = 1,
        client: str = "a",
        id: str = "m1",
        reason: str = "stop",
        **more: Any,
    ) -> None:
        """`done`, over a text."""
        self.event("done", place, number, client, id, finish_reason=reason, text_sha256=sha256(text), **more)

    def reply(self, number: int = 1, client: str = "a", id: str = "m1", at: int = 100) -> None:
        """A whole one, without a fault."""
        self.begin(number, client, id, at=at)
        self.end(cursor(at, 1, 4), "".join(pieces_of(f"{client}/{id}")), number, client, id)

    def chat(self, client: str = "a", session: str = "s1", at: int | None = None) -> None:
        """A client that gets one reply."""
        self.ask(session=session, client=client)
        self.reply(client=client, at=at or (100 if client == "a" else 500))
        self.done(client=client)

    # --- the service's processes -------------------------------------------------------------------------------------

    def lease(
        self, session: str, id: str, generation: int, pid: int = 30, attempt: int = 1, what: str = "leased"
    ) -> None:
        """A worker has a reply."""
        self.add(f"worker-{pid}", what, session=session, id=id, generation=generation, attempt=attempt, nonce=NONCE)

    def append(self, answer: str, first: int, count: int = 1, attempt: int = 1, flags: int = 0) -> None:
        """What came of an append to generation 100 of s1."""
        fields = {"session": "s1", "id": "m1", "generation": 100, "attempt": attempt, "nonce": NONCE}
        self.add("worker-30", "append", **fields, first=first, count=count, flags=flags, answer=answer)

    def fault(self, name: str, role: str, **victim: Any) -> None:
        """Something is broken."""
        self.add(
            "harness-run", "fault", name=name, number=1, state="begun", victim={"role": role, "name": "", **victim}
        )

    def quiet(self, base: Sequence[dict[str, Any]] = (PROCESS,), after: Any = None, stats: Any = None) -> None:
        """What is left at the end."""
        self.told_quiet = True
        processes = [PROCESS] if after is None else after
        self.add("harness-run", "quiet", stats=stats or IDLE, processes=processes, base=list(base))

    # --- the verdict -------------------------------------------------------------------------------------------------

    def broken(self) -> set[str]:
        """The names of the rules that did not hold."""
        if not self.told_quiet:
            self.quiet()
        evidence = Evidence(self.records)
        return {violation.rule for rule in RULES.values() for violation in rule(evidence)}
