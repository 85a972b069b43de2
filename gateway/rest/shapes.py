"""What the session endpoints take and give, as JSON. docs/rest.md and /openapi.json are for their users; times are
milliseconds since 1970."""

from typing import Annotated, Any

import msgspec

from gateway.protocol import Name, ParamsIn, Text
from shared.messages import Done, FinishReason, Receipt, Timing, Usage
from shared.store import StoredSession, StoredTurn

Title = Annotated[str, msgspec.Meta(max_length=256)]


# --- what clients send ------------------------------------------------------------------------------------------------


class NewSession(msgspec.Struct):
    """All of it may be left out."""

    system: str | None = None
    model: Name | None = None
    title: Title = ""


class Renaming(msgspec.Struct):
    """A new title."""

    title: Title


class NewMessage(msgspec.Struct):
    """`id` is the client's own, unique in the session: the same one again never runs twice."""

    id: Name
    content: Text
    model: Name | None = None
    params: ParamsIn | None = None


# --- what the service answers -----------------------------------------------------------------------------------------


class SessionHead(msgspec.Struct):
    """A session, without its messages."""

    id: str
    title: str
    system: str | None
    model: str | None
    created_ms: int
    updated_ms: int


class SessionList(msgspec.Struct):
    """A page, the newest first. `next`: the `cursor` of the next page; null: this is the last."""

    sessions: list[SessionHead]
    next: str | None


class ReplyError(msgspec.Struct):
    """Why a reply ended early."""

    code: str
    message: str
    retryable: bool


class Reply(msgspec.Struct):
    """How a message was answered. An `error` and a `finish_reason` exclude each other."""

    text: str
    cursor: str
    model: str | None
    ended_ms: int
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timing: Timing | None = None
    text_sha256: str | None = None
    receipt: Receipt | None = None
    error: ReplyError | None = None


class StoredMessage(msgspec.Struct):
    """A message. `reply` is null while it waits, runs, or is lost."""

    id: str
    content: str
    model: str | None
    asked_ms: int
    reply: Reply | None


class Conversation(msgspec.Struct):
    """A session with its messages, in the order of the conversation."""

    id: str
    title: str
    system: str | None
    model: str | None
    created_ms: int
    updated_ms: int
    messages: list[StoredMessage]


class Begun(msgspec.Struct):
    """A session that was just made. `events`: where to follow it."""

    session_id: str
    events: str


class MessageAccepted(msgspec.Struct, tag_field="type", tag="accepted"):
    """From here on exactly one terminal event follows. `events`: where to follow the session from just before this
    reply on."""

    session_id: str
    id: str
    queue_position: int
    events: str


class Cancelling(msgspec.Struct, tag_field="type", tag="cancelling"):
    """The reply is not stopped yet, but will be: it waits behind another one."""

    id: str


def head_of(session: StoredSession) -> SessionHead:
    """From the store."""
    one = session
    return SessionHead(one.id, one.title, one.system, one.model, one.created_ms, one.updated_ms)


def conversation_of(session: StoredSession, turns: list[StoredTurn]) -> Conversation:
    """From the store."""
    head: dict[str, Any] = msgspec.structs.asdict(head_of(session))
    return Conversation(**head, messages=[_message(turn) for turn in turns])


def _message(turn: StoredTurn) -> StoredMessage:
    asked = turn.question
    return StoredMessage(asked.id, asked.content, asked.model, asked.asked_ms, _reply(turn))


def _reply(turn: StoredTurn) -> Reply | None:
    answer = turn.answer
    if answer is None:
        return None
    reply = Reply(answer.text, str(answer.cursor), answer.model, answer.ended_ms)
    end = answer.end
    if isinstance(end, Done):
        reply.finish_reason, reply.usage, reply.timing = end.finish_reason, end.usage, end.timing
        reply.text_sha256, reply.receipt = end.text_sha256, end.receipt
    else:
        reply.error = ReplyError(end.code, end.message, end.retryable)
    return reply
