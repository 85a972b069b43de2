"""What docs/protocol.md promises to whoever reads a session, checked frame by frame.

Nothing here knows how the service works: it sees frames as a client does, and the texts that the engine must give.
"""

import json
from typing import Any

from shared.messages import Cursor, Position, text_sha256
from shared.store import Answer
from tests.memory_store import MemoryStore
from tests.simulation.engines import Engines
from tests.simulation.violation import Violation

Frame = dict[str, Any]
TERMINALS = ("done", "error")
NO_TEXT = text_sha256("")
BEFORE_ALL = Position(0, 0, 0)
REFUSALS = ("busy", "broker_unavailable", "queue_full", "unknown_id", "session_not_found", "store_unavailable")


class Records:
    """What is known of the whole run: the basis on which each reader is judged."""

    def __init__(self, engines: Engines, database: MemoryStore | None = None) -> None:
        self.engines = engines
        self.database = database
        self.memories = 1  # lives of the broker
        self.crashes = 0  # of workers, frozen ones included
        self.cancelled: set[str] = set()  # ids that somebody wanted to be cancelled
        self.ended: set[str] = set()  # ids whose terminal somebody has seen
        self._events: dict[str, dict[str, bytes]] = {}  # by session and cursor, as they came first
        self._stretches: list[tuple[str, str, list[str]]] = []

    def see(self, session: str, cursor: str, payload: bytes) -> None:
        """Rule 2: a replayed event is the same as the live one."""
        first = self._events.setdefault(session, {}).setdefault(cursor, payload)
        if first != payload:
            raise Violation("replay", f"{payload!r} was {first!r}")

    def owner_of(self, session: str, cursor: str) -> bool:
        """Whether the event was seen in this session by anybody."""
        return cursor in self._events.get(session, ())

    def answer_of(self, session: str, id: str) -> Answer | None:
        """As the history has it."""
        turn = None if self.database is None else self.database._turns.get((session, id))
        return None if turn is None else turn.answer

    def check_stored(self, session: str, frame: Frame) -> None:
        """Whoever sees the end that a worker gave a reply finds it in the history; see docs/store.md."""
        if self.database is None or frame["type"] != "done" or not Cursor.parse(frame["cursor"]).seq:
            return
        answer = self.answer_of(session, frame["id"])
        if answer is None or text_sha256(answer.text) != frame["text_sha256"]:
            raise Violation("history", f"{frame} was seen, but stored is {answer}")

    def add_stretch(self, who: str, session: str, cursors: list[str]) -> None:
        """Somebody has read on and on from the first of these to the last."""
        if cursors:
            self._stretches.append((who, session, cursors))

    def check_stretches(self) -> None:
        """Rule 2: nothing that anybody else was shown is missing in between."""
        for who, session, cursors in self._stretches:
            first, last, seen = position(cursors[0]), position(cursors[-1]), set(cursors)
            for cursor in self._events[session]:
                if first < position(cursor) < last and cursor not in seen:
                    raise Violation("gap", f"{who} has never seen {cursor} of {session}")


class Reply:
    """One reply as a reader holds it."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.begun = False
        self.ended = False


class Transcript:
    """What one reader has of one session, over all its connections. `tag` begins all ids of the session."""

    def __init__(self, who: str, tag: str, records: Records) -> None:
        self.who = who
        self.tag = tag
        self.session = ""
        self.cursor: str | None = None  # of the last event that was handled
        self.accepted: set[str] = set()  # neither ended nor lost
        self.doubtful: set[str] = set()  # accepted, but not open as the last `session` said
        self.unanswered: set[str] = set()  # first asked on this connection: nothing may come before `accepted`
        self.lost: set[str] = set()  # said to be lost since anybody looked
        self.replies: dict[str, Reply] = {}
        self.told: set[str] = (
            set()
        )  # whose end came from the history: it may have run before anything that was said since
        self._records = records
        self._highest = BEFORE_ALL
        self._stretch: list[str] = []
        self._generation = ""  # the id that the last event was about

    def handle(self, frame: Frame, payload: bytes) -> None:
        """One frame, in order."""
        if "cursor" in frame:
            self._on_event(frame, payload)
        elif frame["type"] == "session":
            self._on_session(frame)
        elif frame["type"] == "accepted":
            self._on_accepted(frame["id"])
        elif frame["type"] == "queued":
            reply = self.replies.get(frame["id"])
            if reply is not None and reply.begun:
                raise Violation("order", f"{self.who}: a place in the queue behind the start: {frame}")
        elif frame["type"] == "error":
            self._on_refusal(frame)

    def noted(self, frame: Frame) -> str:
        """What is worth counting about a frame, if anything."""
        match frame["type"]:
            case "takeover":
                return "seen: takeover" if frame["exact"] else "seen: restart"
            case "done" if frame["finish_reason"] == "cancelled":
                return "seen: cancelled"
            case "session" if not frame["recovered"]:
                return "seen: loss"
            case "error":
                return f"seen: {frame['code']}"
        return ""

    def resumes(self) -> None:
        """A new connection goes on where the last one ended."""
        if self.cursor is None:
            self._highest = BEFORE_ALL

    def hung_up(self) -> None:
        """The connection is gone: what was not answered on it never will be."""
        self.unanswered.clear()

    def start_over(self) -> None:
        """The next replay is to begin with all that is kept. Who asks for that without a cursor, from a broker that
        has lost its memory, cannot be told from a new reader."""
        self._records.add_stretch(self.who, self.session, self._stretch)
        self._stretch = []
        self.cursor, self._generation = None, ""
        self.replies.clear()

    def session_is_gone(self) -> None:
        """The service says that it knows no such session."""
        self._lose(self.accepted)
        self.start_over()
        self.session, self._highest = "", BEFORE_ALL
        self.unanswered.clear()

    def has_ended(self, id: str) -> bool:
        """Whether its terminal was seen."""
        return id in self.replies and self.replies[id].ended

    def _lose(self, ids: set[str]) -> None:
        if self._records.memories == 1:
            raise Violation("loss", f"{self.who} was told that {ids or 'events'} are lost, but the broker never died")
        self.lost |= ids
        self.accepted -= ids
        self.doubtful -= ids

    # --- frames ------------------------------------------------------------------------------------------------------

    def _on_session(self, frame: Frame) -> None:
        if self.session and frame["session_id"] != self.session:
            raise Violation("crossed", f"{self.who} is in {self.session} and got {frame}")
        self.session = frame["session_id"]
        gone = self.accepted - set(frame["open"])
        if frame["recovered"]:
            self.doubtful = gone
        else:
            self._lose(gone)
            self.start_over()

    def _on_accepted(self, id: str) -> None:
        self._check_own(id)
        self.unanswered.discard(id)
        self.lost.discard(id)
        if not self.has_ended(id):
            self.accepted.add(id)

    def _on_refusal(self, frame: Frame) -> None:
        if frame["code"] not in REFUSALS:
            raise Violation("error", f"{self.who}: {frame}")
        if frame["code"] == "broker_unavailable":  # its fate is unknown: it may run all the same
            self.unanswered.discard(frame.get("id", ""))

    def _check_own(self, id: str) -> None:
        if not id.startswith(self.tag):
            raise Violation("crossed", f"{self.who} of {self.tag!r} got something of {id}")

    def _on_event(self, frame: Frame, payload: bytes) -> None:
        id, cursor = frame["id"], frame["cursor"]
        self._check_own(id)
        if self._is_from_history(frame):
            self._take_from_history(frame, payload)
            return
        if id in self.unanswered:
            raise Violation("unaccepted", f"{self.who} got {frame} before its acceptance")
        self._check_order(cursor)
        self._check_next(frame)
        self._records.see(self.session, cursor, payload)
        self.cursor, self._generation = cursor, id
        self._stretch.append(cursor)
        self._apply(self.replies.setdefault(id, Reply()), frame)

    # --- the history -------------------------------------------------------------------------------------------------

    def _is_from_history(self, frame: Frame) -> bool:
        """The end of a reply that was asked for again, and of which nothing else is kept."""
        if self._records.database is None or frame["type"] not in TERMINALS:
            return False
        reply = self.replies.get(frame["id"])
        had_text = frame.get("text_sha256", NO_TEXT) != NO_TEXT
        return (reply is None or not reply.begun) and (had_text or Cursor.parse(frame["cursor"]).seq > 0)

    def _take_from_history(self, frame: Frame, payload: bytes) -> None:
        self._records.see(self.session, frame["cursor"], payload)
        self._records.check_stored(self.session, frame)
        self.told.add(frame["id"])
        self.ended_in_history(frame["id"])

    def ended_in_history(self, id: str) -> None:
        """It is known to have ended, though its events were not seen here."""
        self.replies.setdefault(id, Reply()).ended = True
        for ids in (self.accepted, self.doubtful, self.lost, self.unanswered):
            ids.discard(id)

    # --- order -------------------------------------------------------------------------------------------------------

    def _check_order(self, cursor: str) -> None:
        if self.cursor is not None and position(cursor) <= position(self.cursor):
            promise = "twice" if cursor in self._stretch else "order"
            raise Violation(promise, f"{self.who} got {cursor} behind {self.cursor}")
        if position(cursor) <= self._highest and not self._records.owner_of(self.session, cursor):
            raise Violation("order", f"{self.who} got {cursor}, which is new, but has seen {self._highest}")
        self._highest = max(self._highest, position(cursor))

    def _check_next(self, frame: Frame) -> None:
        """Nothing is missing between the last event and this one, as far as their numbers tell."""
        here = Cursor.parse(frame["cursor"])
        before = None if self.cursor is None else Cursor.parse(self.cursor)
        if before is not None and (before.generation, before.attempt) == (here.generation, here.attempt):
            if (here.seq, here.nonce) != (before.seq + 1, before.nonce):
                raise Violation("gap", f"{self.who} got {here} behind {before}")
            return
        if here.seq:
            raise Violation("gap", f"{self.who} got {here} behind {before}")
        same = before is not None and before.generation == here.generation
        if frame["type"] not in (("takeover" if same else "started"), *TERMINALS):
            raise Violation("gap", f"{self.who} got {frame} behind {before}")
        if before is not None and not same and not self.has_ended(self._generation):
            raise Violation("gap", f"{self.who} got {frame}, but no end of {self._generation}")

    def _apply(self, reply: Reply, frame: Frame) -> None:
        if reply.ended:
            raise Violation("behind the end", f"{self.who} got {frame}")
        reply.begun = True
        match frame["type"]:
            case "delta":
                self._check_canaries(frame["text"])
                reply.pieces.append(frame["text"])
            case "takeover" if not frame["exact"]:
                reply.pieces.clear()
            case "done" | "error":
                reply.ended = True
                self._records.ended.add(frame["id"])
                for ids in (self.accepted, self.doubtful, self.lost):
                    ids.discard(frame["id"])
                self._check_end(reply, frame)
                self._records.check_stored(self.session, frame)

    # --- texts -------------------------------------------------------------------------------------------------------

    def _check_canaries(self, text: str) -> None:
        for tag in text.split("~")[1::2]:
            if tag != self.tag:
                raise Violation("crossed", f"{self.who} of {self.tag!r} read {text!r}")

    def _check_end(self, reply: Reply, frame: Frame) -> None:
        id, text = frame["id"], "".join(reply.pieces)
        if frame["type"] == "error":
            if frame["code"] != "worker_lost" or not self._records.crashes:
                raise Violation("error", f"{self.who}: {frame}")
            return
        if frame["text_sha256"] != text_sha256(text):
            raise Violation("hash", f"{self.who} holds {text!r} of {id}, which is not what {frame} means")
        foretold = self._records.engines.foretold(content_of(id), text)
        if frame["finish_reason"] == "cancelled":
            fine = id in self._records.cancelled and (not text or foretold.startswith(text))
            counted = frame["receipt"]["delivered"]
        else:
            fine = frame["finish_reason"] == "stop" and text == foretold
            counted = frame["usage"]["completion_tokens"]
        if not fine:
            raise Violation("text", f"{self.who} holds {text!r} of {id}, ended by {frame}")
        if counted != len(reply.pieces):
            raise Violation("count", f"{self.who} has {len(reply.pieces)} pieces of {id}, ended by {frame}")

    def check_settled(self) -> None:
        """Rule 1: everything accepted has ended, or its loss was said."""
        for id in self.accepted - self.doubtful:
            raise Violation("hang", f"{self.who} was promised {id}, which has neither ended nor is lost")
        if self.doubtful:
            self._lose(set(self.doubtful))


def position(cursor: str) -> Position:
    """Where the event stands."""
    return Cursor.parse(cursor).position


def content_of(id: str) -> str:
    """What a message with this id says: it holds the session's tag as a canary."""
    return f"~{id.partition('-')[0]}~{id.partition('-')[2]}"


def parse(payload: bytes) -> Frame:
    """A frame of the JSON dialect."""
    frame: Frame = json.loads(payload)
    return frame
