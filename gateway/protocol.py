"""The JSON dialect (subprotocol `llm-chat.v1`) as a pure state machine; docs/protocol.md is for its users."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from gateway.dialect import Action, Ask, Begin, Close, Resume, Say, Stop
from shared.errors import ChatError, InvalidMessage, UnknownType
from shared.messages import Cursor, Delta, Done, Failed, Item, Receipt, Started, Takeover, Timing, Usage, decode_events
from shared.request import Params

SUBPROTOCOL = "llm-chat.v1"
NOT_THE_PROTOCOL = 4400

Text = Annotated[str, msgspec.Meta(min_length=1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


# --- what clients send ----------------------------------------------------------------------------------------------


class _Typed(msgspec.Struct):
    type: str


class _Identified(msgspec.Struct):
    id: str | None = None


class _Start(msgspec.Struct):
    system: str | None = None
    model: Name | None = None


class _Resume(msgspec.Struct):
    session_id: Name
    after: str | None = None


class ParamsIn(msgspec.Struct):
    """Sampling parameters; what is left out is the engine's choice."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | tuple[str, ...] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None


class _Message(msgspec.Struct):
    id: Name
    content: Text
    model: Name | None = None
    params: ParamsIn | None = None


class _Cancel(msgspec.Struct):
    id: Name


class _Ping(msgspec.Struct):
    nonce: str | int | None = None


# --- what the server sends ------------------------------------------------------------------------------------------


class _Frame(msgspec.Struct, tag_field="type", omit_defaults=True):
    pass


class _Session(_Frame, tag="session"):
    session_id: str
    resumed: bool
    recovered: bool
    open: Sequence[str]


class _Accepted(_Frame, tag="accepted"):
    id: str
    queue_position: int


class _Queued(_Frame, tag="queued"):
    id: str
    queue_position: int


class _Started(_Frame, tag="started"):
    id: str
    cursor: str
    attempt: int
    model: str


class _Delta(_Frame, tag="delta"):
    id: str
    cursor: str
    text: str


class _Takeover(_Frame, tag="takeover"):
    id: str
    cursor: str
    attempt: int
    exact: bool


class _Done(_Frame, tag="done"):
    id: str
    cursor: str
    finish_reason: str
    usage: Usage
    timing: Timing
    text_sha256: str
    receipt: Receipt | None = None


class _Error(_Frame, tag="error"):
    code: str
    message: str
    retryable: bool
    id: str | None = None
    cursor: str | None = None


class _GoingAway(_Frame, tag="going_away"):
    retry_after_ms: int


class _Pong(_Frame, tag="pong"):
    nonce: str | int | None = None


_encode = msgspec.json.Encoder().encode
_decode_typed = msgspec.json.Decoder(_Typed).decode
_decode_identified = msgspec.json.Decoder(_Identified).decode


class JsonDialect:
    """One connection's side of the protocol. Its only state: whether it has, or is getting, a session."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = False

    def receive(self, text: str) -> Sequence[Action]:
        """See Dialect."""
        try:
            kind = _decode_typed(text).type
            handler = _HANDLERS.get(kind)
            if handler is None:
                return [Say(_error(UnknownType(f"The type {kind[:64]!r} is not known."), _id_of(text)))]
            decode, handle = handler
            return handle(self, decode(text))
        except msgspec.ValidationError as error:
            return self._invalid(text, error)
        except (msgspec.DecodeError, RecursionError):
            return [Close(NOT_THE_PROTOCOL, "not JSON")]
        except InvalidMessage as error:
            return [Say(_error(error, _id_of(text)))]

    def _invalid(self, text: str, error: msgspec.ValidationError) -> Sequence[Action]:
        """Wrong fields are answered, a frame without a type is not the protocol."""
        try:
            _decode_typed(text)
        except msgspec.ValidationError:
            return [Close(NOT_THE_PROTOCOL, "not an object with a string type")]
        return [Say(_error(InvalidMessage(f"{error}."), _id_of(text)))]

    def _start(self, frame: _Start) -> Sequence[Action]:
        self._begin()
        return [Begin(frame.system, frame.model)]

    def _resume(self, frame: _Resume) -> Sequence[Action]:
        try:
            after = None if frame.after is None else Cursor.parse(frame.after)
        except ValueError:
            raise InvalidMessage("This is not a cursor of this service - at `$.after`.") from None
        self._begin()
        return [Resume(frame.session_id, after)]

    def _begin(self) -> None:
        if self._begun:
            raise InvalidMessage("This connection has its session already - at `$.type`.")
        self._begun = True

    def _message(self, frame: _Message) -> Sequence[Action]:
        ask = Ask(frame.id, frame.content, frame.model, params_of(frame.params))
        if self._begun:
            return [ask]
        self._begun = True
        return [Begin(None, None), ask]

    def _cancel(self, frame: _Cancel) -> Sequence[Action]:
        return [Stop(frame.id)]

    def _ping(self, frame: _Ping) -> Sequence[Action]:
        return [Say(_encode(_Pong(frame.nonce)))]

    def joined(self, session: str, *, resumed: bool, recovered: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        return [_encode(_Session(session, resumed, recovered, open))]

    def lost(self, session: str, *, pending: bool, open: Sequence[str]) -> list[bytes]:
        """See Dialect."""
        return [_encode(_Session(session, True, False, open))]

    def not_joined(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        self._begun = False
        return [_error(error)]

    def accepted(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return [_encode(_Accepted(id, place))]

    def queued(self, id: str, place: int) -> list[bytes]:
        """See Dialect."""
        return [_encode(_Queued(id, place))]

    def refused(self, id: str | None, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return [_error(error, id)]

    def events(self, item: Item, skip: int) -> list[bytes]:
        """See Dialect."""
        head, tail = f"{item.generation}-{item.attempt}-", f"-{item.nonce}"
        payloads = []
        for seq, event in enumerate(decode_events(item.events)[skip:], item.first + skip):
            cursor = f"{head}{seq}{tail}"
            if type(event) is Delta:
                payloads.append(_encode(_Delta(item.id, cursor, event.text)))
            else:
                payloads.append(_encode(_frame(item, cursor, event)))
        return payloads

    def going_away(self, retry_after_ms: int) -> list[bytes]:
        """See Dialect."""
        return [_encode(_GoingAway(retry_after_ms))]

    def farewell(self, error: ChatError) -> list[bytes]:
        """See Dialect."""
        return []


def params_of(params: ParamsIn | None) -> Params:
    """As the engine is asked."""
    return Params() if params is None else Params(**msgspec.structs.asdict(params))


def terminal_frame(id: str, cursor: Cursor, end: Done | Failed) -> bytes:
    """The terminal of a reply that is known from elsewhere than its session's queue."""
    if isinstance(end, Failed):
        return _encode(_Error(end.code, end.message, end.retryable, id, str(cursor)))
    return _encode(_Done(id, str(cursor), end.finish_reason, end.usage, end.timing, end.text_sha256, end.receipt))


def _frame(item: Item, cursor: str, event: Started | Delta | Takeover | Done | Failed) -> _Frame:
    match event:
        case Started(model):
            return _Started(item.id, cursor, item.attempt, model)
        case Delta(text):
            return _Delta(item.id, cursor, text)
        case Takeover(exact):
            return _Takeover(item.id, cursor, item.attempt, exact)
        case Done(reason, usage, timing, text_sha256, receipt):
            return _Done(item.id, cursor, reason, usage, timing, text_sha256, receipt)
        case Failed(code, message, retryable):
            return _Error(code, message, retryable, item.id, cursor)


def _error(error: ChatError, id: str | None = None) -> bytes:
    return _encode(_Error(error.code, error.message, error.retryable, id))


def _id_of(text: str) -> str | None:
    """The id that a refused frame names, if it can be read: so that the client knows which one was refused."""
    try:
        return _decode_identified(text).id
    except (msgspec.DecodeError, RecursionError):
        return None


def _handler(
    frame: type[Any], method: Callable[..., Sequence[Action]]
) -> tuple[Callable[[str], Any], Callable[..., Sequence[Action]]]:
    return msgspec.json.Decoder(frame).decode, method


_HANDLERS = {
    "start": _handler(_Start, JsonDialect._start),
    "resume": _handler(_Resume, JsonDialect._resume),
    "message": _handler(_Message, JsonDialect._message),
    "cancel": _handler(_Cancel, JsonDialect._cancel),
    "ping": _handler(_Ping, JsonDialect._ping),
}

# The types of all frames, for descriptions of the protocol.
CLIENT_FRAMES: dict[str, type[msgspec.Struct]] = {
    "start": _Start,
    "resume": _Resume,
    "message": _Message,
    "cancel": _Cancel,
    "ping": _Ping,
}
SERVER_FRAMES: dict[str, type[msgspec.Struct]] = {
    str(one.__struct_config__.tag): one for one in _Frame.__subclasses__()
}
