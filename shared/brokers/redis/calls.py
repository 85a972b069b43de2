"""Calls to the scripts as bytes: arguments and results are MessagePack, the results typed by the signatures of
BrokerState."""

import random
from collections.abc import Iterable, Sequence
from typing import Any, get_type_hints

import msgspec

from shared.brokers.redis.scripts import META, Script
from shared.brokers.state import BrokerState, terminals
from shared.brokers.state.reply import Reply
from shared.brokers.state.session import Session
from shared.errors import ChatError
from shared.messages import (
    Batch,
    Cancelled,
    Done,
    FinishReason,
    Item,
    Lease,
    Polled,
    Tally,
    decode_events,
    encode_events,
    text_of,
)

_decode_item = msgspec.msgpack.Decoder(Item).decode
_encode = msgspec.msgpack.Encoder().encode


def whole(items: Iterable[bytes]) -> list[Item]:
    """Those that can be read. The others are for `mending`."""
    return [item for item in map(readable, items) if item is not None]


def readable(packed: bytes) -> Item | None:
    """The item, if it and its events are what they should be."""
    try:
        item = _decode_item(packed)
        decode_events(item.events)
    except msgspec.DecodeError:
        return None
    return item


class LeaseAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A Lease before its text is put together."""

    number: int
    session: str
    generation: int
    attempt: int
    nonce: str
    id: str
    request: bytes
    tally: Tally
    visible: bool
    waited_ms: int
    queue_ms: int
    items: list[bytes]

    def lease(self) -> Lease:
        """As the worker gets it."""
        names = (self.number, self.session, self.generation, self.attempt, self.nonce, self.id)
        stands = (text_of(whole(self.items)) if self.items else "", self.tally, self.visible)
        return Lease(*names, self.request, *stands, self.waited_ms, self.queue_ms)


class PolledAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A Polled before that."""

    epoch: str
    number: int
    leases: list[LeaseAnswer]
    cancelled: list[Cancelled]
    lost: list[int]

    def polled(self) -> Polled:
        """As the worker gets it."""
        leases = [lease.lease() for lease in self.leases]
        return Polled(self.epoch, self.number, leases, self.cancelled, self.lost)


class Owed(msgspec.Struct, frozen=True, array_like=True):
    """A terminal that a script could not make, for want of a digest over the text. Times are clock seconds."""

    session: str
    generation: int
    id: str
    attempt: int
    reason: FinishReason
    tally: Tally
    accepted_at: float
    leased_at: float | None
    now: float
    items: list[bytes]

    def done(self) -> Done:
        """The terminal, as the state machine makes it."""
        chat = Session(self.session, "", None, None, self.accepted_at)
        reply = Reply(chat, self.generation, self.id, b"", self.accepted_at)
        reply.tally, reply.leased_at, reply.items = self.tally, self.leased_at, whole(self.items)
        return terminals.done(reply, self.reason, self.now)

    def finish(self) -> tuple[Any, ...]:
        """The arguments of the call that files it."""
        return self.session, self.generation, self.attempt, encode_events([self.done()])


class NoMemory(Exception):
    """The server has no memory of ours, or not any more: greet it first."""


_results: dict[str, "msgspec.msgpack.Decoder[Any]"] = {
    method: msgspec.msgpack.Decoder(get_type_hints(getattr(BrokerState, method))["return"])
    for method in ("submit", "cancel", "attach", "read", "recall", "newest", "spend", "append", "stats")
}
_results |= {
    "drain": msgspec.msgpack.Decoder(tuple[int, Batch | None]),
    "batch": msgspec.msgpack.Decoder(Batch | None),
    "poll": msgspec.msgpack.Decoder(tuple[int, PolledAnswer | None]),
    "polled": msgspec.msgpack.Decoder(PolledAnswer | None),
    "leave": msgspec.msgpack.Decoder(int),
    "tick": msgspec.msgpack.Decoder(bool | None),
    "raw": msgspec.msgpack.Decoder(list[tuple[str, bytes]]),
    "letters": msgspec.msgpack.Decoder(list[tuple[str, list[bytes]]]),
}
_decode_owed = msgspec.msgpack.Decoder(Owed).decode


def arguments(method: str, args: Sequence[Any]) -> tuple[Any, list[bytes]]:
    """What a script finds in its first argument, and the bytes that come as arguments of their own. Lua has no null in
    a list: false stands for it."""
    match method:
        case "append":
            return [(f.lease, f.first, f.count, f.flags, f.tally) for f in args[0]], [f.events for f in args[0]]
        case "open":
            session, owner, system, model, floor, epoch = args
            return (session, owner, floor, epoch), [_encode(owner) + _encode(system) + _encode(model)]
        case "submit":
            (made,) = args
            return (made.session, made.id, made.floor), [made.request, made.note]
        case "annotate":
            return args[:2], [args[2]]
        case "finish":
            return args[:3], [args[3]]
    return [False if argument is None else argument for argument in args], []


def command(script: Script, method: str, args: Sequence[Any], clock: tuple[str, str] = ("", "")) -> list[bytes | str]:
    """The words to send. `clock`: now and wall_ms, where the server's own is not to be used."""
    plain, blobs = arguments(method, args)
    return [b"EVALSHA", script.sha, b"1", META, _encode(plain), f"{random.getrandbits(64):016x}", *clock, *blobs]


def result(method: str, answer: Sequence[Any]) -> tuple[Any, list[Owed]]:
    """What came of a call, and what is owed. Raises ChatError, NoMemory, msgspec.DecodeError."""
    if answer[0] == 3:
        raise NoMemory
    if answer[0] == 1:
        raise _refusal(answer[1].decode(), int(answer[2]))
    owed = [_decode_owed(packed) for packed in answer[2:]]
    decoder = _results.get(method)
    return None if decoder is None else decoder.decode(answer[1]), owed


def _refusal(code: str, detail: int) -> ChatError:
    if detail == -1:
        return ChatError.of(code, "Too many one-time tokens were used just now; try again later.")
    return ChatError.of(code, ChatError.registry[code].sentence, detail)
