"""What replies say: the engine's whole text, the fingerprint that was promised, and nobody else's words."""

import hashlib
import re
from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record
from tests.chaos.checker.session import Reply, Session
from tests.chaos.checker.violation import Violation

_PIECE = re.compile(r"\n?chunk \d+: (.*)", re.DOTALL)


def echo_pieces(content: str, chunks: int) -> list[str]:
    """What the echo engine says to a message, piece by piece, as JSON clients get it."""
    return [f"{chr(10) if number > 1 else ''}chunk {number}: {content}" for number in range(1, chunks + 1)]


def canary_of(piece: str) -> str | None:
    """The message that a piece of text was made from."""
    match = _PIECE.fullmatch(piece)
    return None if match is None else match[1]


def text(evidence: Evidence) -> Iterator[Violation]:
    """A complete reply is the engine's whole text, a reply that ended otherwise the first pieces of it."""
    chunks = evidence.settings.get("echo_chunks")
    for session, reply in _whole(evidence):
        ask = session.asks.get(reply.id)
        if ask is None or chunks is None:
            continue
        wanted = "".join(echo_pieces(ask.content, chunks))
        complete = reply.terminal is not None and reply.terminal.frame.get("finish_reason") == "stop"
        if reply.text != wanted if complete else not wanted.startswith(reply.text):
            records = (reply.events[0].record, reply.events[-1].record)
            yield Violation("text", reply.subject, f"holds {reply.text[-60:]!r} at its end", records)


def sha256(evidence: Evidence) -> Iterator[Violation]:
    """`text_sha256` is that of the text which the client holds then."""
    for _, reply in _whole(evidence):
        terminal = reply.terminal
        if terminal is None or terminal.type != "done":
            continue
        if terminal.frame["text_sha256"] != hashlib.sha256(reply.text.encode()).hexdigest():
            yield Violation("sha256", reply.subject, "the fingerprint is of another text", (terminal.record,))


def _whole(evidence: Evidence) -> Iterator[tuple[Session, Reply]]:
    """Replies that were seen from their beginning. Where one should have been, and was not, `contiguous` says so."""
    for session in evidence.sessions:
        yield from ((session, reply) for reply in session.replies.values() if reply.whole)


def canary(evidence: Evidence) -> Iterator[Violation]:
    """No connection gets a piece of a message of another session, nor an event of an attempt that belongs to another
    one, nor a frame for an id that was never said in its own."""
    yield from _shared_attempts(evidence)
    for session in evidence.sessions:
        for connection, event in session.arrivals:
            ask = session.asks.get(event.id)
            said = canary_of(event.text) if event.type == "delta" else None
            if ask is None:
                sentence = f"got a {event.type} for {event.id!r}, which nobody sent in this session"
                yield Violation("canary", f"{session.id} ({connection.client})", sentence, (event.record,))
            elif said is not None and said != ask.content and said in evidence.owners:
                sentence = f"got a piece of {'/'.join(evidence.owners[said])}"
                yield Violation("canary", f"{session.id}/{event.id}", sentence, (event.record,))


def _shared_attempts(evidence: Evidence) -> Iterator[Violation]:
    """By generation and nonce: what a message holds tells nothing where the same one was sent in two sessions."""
    first: dict[tuple[int, int, str], tuple[Session, Record]] = {}
    for session in evidence.sessions:
        for event in session.stored:
            generation, attempt, _, nonce = event.position
            owner, record = first.setdefault((generation, attempt, nonce), (session, event.record))
            if owner is not session:
                sentence = f"got an event of an attempt that {owner.id} has, too"
                yield Violation("canary", f"{session.id}/{event.id}", sentence, (record, event.record))
