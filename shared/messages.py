"""What travels between gateway, broker and worker: frozen structs, encoded as MessagePack arrays.

A leaf: it imports nothing of ours. Words are those of docs/architecture.md: a *message* is what the user sent, a
*generation* the run that answers it, an *attempt* one worker's try at that, an *event* what the reader sees, an
*item* what one flush adds to a session's reply queue.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import Literal, NamedTuple

import msgspec


class Position(NamedTuple):
    """Where an event stands in its session. Compared in this order; strictly increasing within a session."""

    generation: int
    attempt: int
    seq: int


_CURSOR = re.compile(r"(\d{1,16})-(\d{1,6})-(\d{1,9})-([0-9a-f]{8})")


class Cursor(NamedTuple):
    """A position plus the attempt's random nonce: names one event even when a broker lost its memory and counts
    anew."""

    generation: int
    attempt: int
    seq: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.generation}-{self.attempt}-{self.seq}-{self.nonce}"

    @property
    def position(self) -> Position:
        """The cursor without its nonce."""
        return Position(self.generation, self.attempt, self.seq)

    @staticmethod
    def parse(text: str) -> "Cursor":
        """Raises ValueError where `text` was not made by `str(cursor)`."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError("not a cursor")
        return Cursor(int(match[1]), int(match[2]), int(match[3]), match[4])


# --- what the reader sees -------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one reply; `estimated` where the engine does not count."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds: in the queue; from acceptance to the first piece (None: there was none); from acceptance to the
    end."""

    queue_ms: int
    first_token_ms: int | None
    total_ms: int


class Receipt(msgspec.Struct, frozen=True):
    """What a cancel achieved: pieces the engine made, pieces in the stream, ms from the cancel's acceptance to the
    engine's stop."""

    generated: int | None
    delivered: int
    stop_ms: int | None


class Started(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A worker took the generation; always its first visible event."""

    model: str


class Delta(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """The next piece of text."""

    text: str


class Takeover(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """A later attempt goes on. `exact`: right where the text stopped; otherwise the text so far is void."""

    exact: bool


FinishReason = Literal["stop", "length", "cancelled"]


class Done(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """Terminal: the reply is complete as it stands. `text_sha256` is over its UTF-8 text."""

    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    text_sha256: str
    receipt: Receipt | None = None


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Terminal: the reply ended in an error of shared.errors. Clients see it as `error`."""

    code: str
    message: str
    retryable: bool


Event = Started | Delta | Takeover | Done | Failed
_events_encoder = msgspec.msgpack.Encoder()
_events_decoder = msgspec.msgpack.Decoder(list[Event])


def encode_events(events: Sequence[Event]) -> bytes:
    """The bytes of an item."""
    return _events_encoder.encode(events)


decode_events = _events_decoder.decode  # the inverse; raises msgspec.DecodeError


def text_sha256(text: str) -> str:
    """The fingerprint that lets a client check the reply it holds."""
    return hashlib.sha256(text.encode()).hexdigest()


# --- what the broker keeps ------------------------------------------------------------------------------------------


class Flag(IntFlag):
    """What the broker must know of an item without decoding it."""

    STARTED = 1  # holds the first visible event of its generation
    RESTART = 2  # the text before this item is void
    TERMINAL = 4  # ends its generation


TERMINAL = int(Flag.TERMINAL)  # for the hot path: IntFlag's own operators are slow


class Tally(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The reply up to and with an item, so that a terminal which the broker must make itself is true.

    Pieces and tokens of the text that stands (a restart begins at 0); `first_token_ms` counts from acceptance.
    """

    pieces: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    first_token_ms: int | None = None


class Flush(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a worker adds to a reply, by its lease: `count` events, numbered from `first` within the attempt, and the
    reply's tally with them."""

    lease: int
    first: int
    count: int
    flags: int
    tally: Tally
    events: bytes

    @property
    def terminal(self) -> bool:
        """Whether it ends the generation."""
        return bool(self.flags & TERMINAL)


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one flush has added to one session: `count` events, numbered from `first` within their attempt.

    `index` counts the session's items (G8: a reader that holds item n writes n + 1 next, and so sees any gap).
    """

    session: str
    generation: int
    attempt: int
    nonce: str
    id: str
    first: int
    count: int
    flags: int
    events: bytes
    index: int

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes, as an estimate: its objects and their share of the reply, and the events."""
        return len(self.events) + 250

    @property
    def cursor(self) -> Cursor:
        """That of the item's last event."""
        return Cursor(self.generation, self.attempt, self.first + self.count - 1, self.nonce)

    @property
    def terminal(self) -> bool:
        """Whether the item ends its generation."""
        return bool(self.flags & TERMINAL)


def text_of(items: Iterable[Item]) -> str:
    """The reply as a client that saw exactly these items of one generation holds it."""
    pieces: list[str] = []
    for item in items:
        for event in decode_events(item.events):
            if isinstance(event, Delta):
                pieces.append(event.text)
            elif isinstance(event, Takeover) and not event.exact:
                pieces.clear()
    return "".join(pieces)


class Submission(msgspec.Struct, frozen=True, array_like=True):
    """A message on its way into the queue. `floor`: the new generation must be above it. `note`: what a gateway wants
    to know of it later; with one, the request is kept as long as the reply is."""

    session: str
    id: str
    floor: int
    request: bytes
    note: bytes = b""


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """The broker has it. `place`: how many go first. `repeated`: the id was known already; `ended`: and has its
    terminal."""

    generation: int
    place: int = 0
    repeated: bool = False
    ended: bool = False


class Recalled(msgspec.Struct, frozen=True, array_like=True):
    """A message as it was submitted, with a note. `before`: the last event that is kept of what went before its reply
    (None: the reply is the first); `newest`: its own last event so far. `last`: no message of the session came after
    it."""

    owner: str
    request: bytes
    note: bytes
    before: Cursor | None
    newest: Cursor | None
    ended: bool
    last: bool


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Items of one session, in order. `more`: there are further ones. `recovered` is False where events behind
    `after` are gone: then the page begins with the oldest item that is kept."""

    items: list[Item]
    more: bool
    recovered: bool = True


class Attached(msgspec.Struct, frozen=True, array_like=True):
    """What a session is at the moment of attaching to it in the memory `epoch`, and the first page behind `after`.

    `newest` is the index of the session's last item; `running` its open generation and `ended` the last one that has
    its terminal (0: none); `open` holds the ids that were accepted and have no terminal.
    """

    epoch: str
    owner: str
    system: str | None
    model: str | None
    open: list[str]
    newest: int
    running: int
    ended: int
    page: Page


class Place(msgspec.Struct, frozen=True, array_like=True):
    """News of a waiting message: how many go before it now."""

    session: str
    id: str
    place: int


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """What one drain brings a gateway process for all its sessions.

    `lost`: the subscriptions are gone (new link, silence, overflow, new epoch): attach every session again. `gone`:
    sessions that have been forgotten.
    """

    epoch: str
    lost: bool
    items: list[Item]
    places: list[Place]
    gone: list[str] = []


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """A worker's timed right to write one attempt.

    `number` names it to the broker. `text` and `tally` are the reply so far; `visible`: the reader has seen an event
    of this generation; `waited_ms`: from acceptance to this lease; `queue_ms`: from acceptance to the first lease.
    """

    number: int
    session: str
    generation: int
    attempt: int
    nonce: str
    id: str
    request: bytes
    text: str
    tally: Tally
    visible: bool
    waited_ms: int
    queue_ms: int


class Cancelled(msgspec.Struct, frozen=True, array_like=True):
    """A lease whose generation the user wants stopped, and how long ago the broker accepted that."""

    lease: int
    age_ms: int


class Polled(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a worker's poll. `number` must be named as `seen` by the next one. `lost`: leases that are no
    longer the worker's."""

    epoch: str
    number: int
    leases: list[Lease]
    cancelled: list[Cancelled]
    lost: list[int]


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A flush that was not stored: its place in the appended list, and why. `age_ms` as in Cancelled."""

    place: int
    reason: Literal["fenced", "cancelled"]
    age_ms: int = 0


class Stats(msgspec.Struct, frozen=True, array_like=True):
    """The broker at a glance. `workers` and `gateways` are those heard of lately, `suspects` queued generations that
    must run alone."""

    epoch: str
    sessions: int
    queued: int
    running: int
    suspects: int
    workers: int
    gateways: int
    kept_bytes: int
