"""Between records and rows. What nobody searches for is JSON in one column."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from shared.messages import Done, Failed, FinishReason, Receipt, Timing, Usage
from shared.request import Params
from shared.store.records import Answer, Question, StoredSession, StoredTurn


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a terminal says besides the columns of its own."""

    seq: int
    nonce: str
    usage: Usage | None = None
    timing: Timing | None = None
    receipt: Receipt | None = None
    message: str | None = None
    retryable: bool = True


_encode = msgspec.json.Encoder().encode
_details = msgspec.json.Decoder(Details).decode
_params = msgspec.json.Decoder(Params).decode
_meta = msgspec.json.Decoder(dict[str, Any]).decode
_NO_PARAMS = Params()

SESSION = ("id", "owner", "title", "system", "model", "created_ms", "updated_ms", "meta")
QUESTION = ("session", "id", "content", "model", "params", "asked_ms", "meta")
ANSWER = ("generation", "attempt", "status", "reason", "text", "text_sha256", "answered_by", "ended_ms", "details")
TURN = (*QUESTION, *ANSWER, "number")


def json(value: object) -> str | None:
    """A column of JSON; None for what is empty."""
    return _encode(value).decode() if value and value != _NO_PARAMS else None


def of_session(session: StoredSession) -> tuple[Any, ...]:
    """In the order of SESSION."""
    one = session
    return (one.id, one.owner, one.title, one.system, one.model, one.created_ms, one.updated_ms, json(one.meta))


def of_question(question: Question) -> tuple[Any, ...]:
    """In the order of QUESTION."""
    one = question
    return (one.session, one.id, one.content, one.model, json(one.params), one.asked_ms, json(one.meta))


def of_answer(answer: Answer) -> tuple[Any, ...]:
    """In the order of ANSWER."""
    end = answer.end
    sha256: str | None
    if isinstance(end, Done):
        status, reason, sha256 = "done", str(end.finish_reason), end.text_sha256
        details = Details(answer.seq, answer.nonce, end.usage, end.timing, end.receipt)
    else:
        status, reason, sha256 = "error", end.code, None
        details = Details(answer.seq, answer.nonce, message=end.message, retryable=end.retryable)
    return (
        answer.generation,
        answer.attempt,
        status,
        reason,
        answer.text,
        sha256,
        answer.model,
        answer.ended_ms,
        json(details),
    )


def of_newest(answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    """Session, id, ANSWER; each key once: of the same attempt the last one stands."""
    newest: dict[tuple[str, str], Answer] = {}
    for answer in answers:
        key = (answer.session, answer.id)
        other = newest.get(key)
        if other is None or (other.generation, other.attempt) <= (answer.generation, answer.attempt):
            newest[key] = answer
    return [(*key, *of_answer(answer)) for key, answer in newest.items()]


def session_of(row: Sequence[Any]) -> StoredSession:
    """The inverse of `of_session`."""
    id, owner, title, system, model, created_ms, updated_ms, meta = row
    return StoredSession(id, owner, title, system, model, created_ms, updated_ms, _meta(meta) if meta else {})


def turn_of(row: Sequence[Any]) -> StoredTurn:
    """From columns in the order of TURN."""
    session, id, content, model, params, asked_ms, meta = row[: len(QUESTION)]
    question = Question(
        session,
        id,
        content,
        model,
        _params(params) if params else _NO_PARAMS,
        asked_ms,
        _meta(meta) if meta else {},
    )
    return StoredTurn(question, _answer(session, id, row[len(QUESTION) : -1]), row[-1])


def _answer(session: str, id: str, row: Sequence[Any]) -> Answer | None:
    generation, attempt, status, reason, text, sha256, model, ended_ms, details = row
    if status == "open":
        return None
    found = _details(details)
    end: Done | Failed
    if status == "done":
        assert found.usage is not None
        assert found.timing is not None
        end = Done(cast(FinishReason, reason), found.usage, found.timing, sha256, found.receipt)
    else:
        end = Failed(reason, found.message or "", found.retryable)
    return Answer(session, id, generation, attempt, found.seq, found.nonce, text, end, model, ended_ms)
