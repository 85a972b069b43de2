"""Plain clients: no positions, so the sequence of texts alone must be a possible one."""

from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.plain import PlainConnection
from tests.chaos.checker.record import Record
from tests.chaos.checker.rules.content import canary_of, echo_pieces
from tests.chaos.checker.violation import Violation

State = tuple[int, int]  # number of the message that is answered, pieces of its reply that came


def plain_order(evidence: Evidence) -> Iterator[Violation]:
    """Replies come in the order of the messages, never mixed, each piece once; `error: restarted` begins one anew, any
    other error ends it. A connection that nobody cut has an end to each of its messages."""
    chunks = evidence.settings.get("echo_chunks")
    for connection in evidence.plain if chunks is not None else ():
        yield from _follow(evidence, connection, int(chunks or 0))


def _follow(evidence: Evidence, connection: PlainConnection, chunks: int) -> Iterator[Violation]:
    script = Script(connection.contents, chunks)
    states: set[State] = {(0, 0)}
    for record in connection.got:
        states = {after for before in states for after in script.steps(before, record["frame"]["text"])}
        if not states:
            yield _impossible(evidence, connection, record)
            return
    closed = connection.closed
    ended = any(script.message(state) == len(connection.contents) for state in states)
    if not ended and closed is not None and closed["by"] == "us":
        number = max(script.message(state) for state in states) + 1
        yield Violation("plain_order", connection.subject, f"message {number} was never answered to its end", (closed,))


def _impossible(evidence: Evidence, connection: PlainConnection, record: Record) -> Violation:
    """A text that cannot come here. One of somebody else's is graver than one of the wrong number."""
    said = canary_of(record["frame"]["text"])
    if said in evidence.owners and said not in connection.contents:
        sentence = f"got a piece of {'/'.join(evidence.owners[said])}"
        return Violation("canary", connection.subject, sentence, (record,))
    return Violation("plain_order", connection.subject, f"{record['frame']['text'][:60]!r} cannot come here", (record,))


class Script:
    """What may come to these messages."""

    def __init__(self, contents: list[str], chunks: int) -> None:
        self._pieces = [[piece.removeprefix("\n") for piece in echo_pieces(content, chunks)] for content in contents]
        self._chunks = chunks

    def message(self, state: State) -> int:
        """The number of the message that is to be answered next."""
        return state[0] + (state[1] == self._chunks)

    def steps(self, state: State, text: str) -> Iterator[State]:
        """The states that a text can lead to."""
        message, pieces = state
        if text.startswith("error: "):
            yield from self._failed(state, text)
            return
        if pieces == self._chunks:
            message, pieces = message + 1, 0
        if message < len(self._pieces) and self._pieces[message][pieces] == text:
            yield message, pieces + 1

    def _failed(self, state: State, text: str) -> Iterator[State]:
        message, pieces = state
        if text.startswith("error: restarted:"):
            yield message, 0
        elif pieces == self._chunks:  # of this reply, whose end the gateway had not seen, or of the next one
            if text.startswith("error: lost:"):
                yield state
            yield message + 2, 0
        else:
            yield message + 1, 0
