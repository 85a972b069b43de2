"""A client's frames (RFC 6455, sections 5 to 8), from bytes to whole messages. Pure.

Whatever the client does, no more is kept than one read and one message of the size that is allowed: sizes are checked
as they are announced, and a message is put together in place, however small its pieces are.
"""

from codecs import utf_8_decode
from typing import NamedTuple

from gateway.ws.codes import NO_CODE, NOT_UTF8, PROTOCOL_ERROR, TOO_LARGE, may_be_sent

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets without its C part
    from websockets.utils import apply_mask

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_OPCODES = {_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG}
_LONGEST_CONTROL = 125


class Text(NamedTuple):
    """A message."""

    text: str


class Binary(NamedTuple):
    """A message."""

    data: bytes


class Ping(NamedTuple):
    """Wants a pong with the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """An answer to a ping, or sent unasked."""

    payload: bytes


class Close(NamedTuple):
    """The client says goodbye; `code` is NO_CODE where it gave none."""

    code: int
    reason: str


Event = Text | Binary | Ping | Pong | Close


class Violation(Exception):
    """The client breaks the protocol: the connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def whole_text(data: bytes, limit: int) -> bytes | None:
    """The payload of a read that is exactly one text message of less than 64 KiB, as nearly every one is.

    None for everything else, faults included: those are for the Parser.
    """
    size = len(data)
    if size < 6 or data[0] != 0x81 or data[1] < 128:
        return None
    length, start = data[1] - 128, 6
    if length >= 126:
        if length == 127 or size < 8 or (length := data[2] << 8 | data[3]) < 126:
            return None
        start = 8
    if size != start + length or length > limit:
        return None
    return apply_mask(data[start:], data[start - 4 : start])


class Parser:
    """Fed with what is read, asked for what was in it. Of no use any more once it has raised Violation."""

    __slots__ = (
        "_at",
        "_control",
        "_data",
        "_fin",
        "_kind",
        "_left",
        "_limit",
        "_mask",
        "_message",
        "_opcode",
        "_tail",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit  # bytes of a message's payload
        self._data = b""  # what was read,
        self._at = 0  # and how far it has been handled
        self._opcode = 0  # of the frame under way, with the next three
        self._fin = False
        self._mask = b""  # turned to the next byte of payload
        self._left = -1  # bytes of payload still to come; -1: no frame is under way
        self._kind = 0  # opcode of the message under way; 0: none is
        self._message = bytearray()
        self._tail = b""  # of its text: the beginning of a character
        self._control = b""  # payload of the control frame under way

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: a new Parser would do as well."""
        return self._left < 0 and not self._kind and self._at == len(self._data)

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        rest = self._data[self._at :]
        self._data = rest + data if rest else data
        self._at = 0

    def next(self) -> Event | None:
        """The next thing that the client said; None: more has to be read first. Raises Violation."""
        while self._left >= 0 or self._read_header():
            event = self._read_payload()
            if event is not None:
                return event
            if self._left >= 0:
                break
        self._data, self._at = self._data[self._at :], 0  # the rest is short: let go of the read
        return None

    def _read_header(self) -> bool:
        """False: it is not complete. It is checked as soon as it can be."""
        data, at = self._data, self._at
        have = len(data) - at
        if have < 2:
            return False
        opcode, fin, length = data[at] & 0x0F, data[at] >= 0x80, data[at + 1] & 0x7F
        self._check(data[at], opcode, fin, length)
        if data[at + 1] < 0x80:
            raise Violation(PROTOCOL_ERROR, "the frame is not masked")
        start = at + (2 if length < 126 else 4 if length == 126 else 10)
        if have < start - at:
            return False
        if length >= 126:
            length = _long_length(data[at + 2 : start])
        if opcode < _CLOSE and len(self._message) + length > self._limit:
            raise Violation(TOO_LARGE, f"a message may have {self._limit} bytes")
        if have < start - at + 4:
            return False
        self._opcode, self._fin, self._left = opcode, fin, length
        self._mask = data[start : start + 4]
        self._at = start + 4
        self._kind = self._kind if opcode == _CONTINUATION or opcode >= _CLOSE else opcode
        return True

    def _check(self, first: int, opcode: int, fin: bool, length: int) -> None:
        if first & 0x70:
            raise Violation(PROTOCOL_ERROR, "reserved bits are set")
        if opcode not in _OPCODES:
            raise Violation(PROTOCOL_ERROR, "no such opcode")
        if opcode >= _CLOSE:
            if not fin:
                raise Violation(PROTOCOL_ERROR, "a control frame is fragmented")
            if length > _LONGEST_CONTROL:
                raise Violation(PROTOCOL_ERROR, "a control frame is too long")
        elif (opcode == _CONTINUATION) != bool(self._kind):
            raise Violation(PROTOCOL_ERROR, "a continuation of nothing" if not self._kind else "a message in a message")

    def _read_payload(self) -> Event | None:
        """As much of it as is there. None: that was not the end of a message or a control frame."""
        chunk = self._data[self._at : self._at + self._left]
        self._at += len(chunk)
        self._left -= len(chunk)
        unmasked = apply_mask(chunk, self._mask)
        if self._left:
            turn = len(chunk) % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
        else:
            self._left = -1
        if self._opcode < _CLOSE:
            return self._take(unmasked, self._fin and self._left < 0)
        self._control += unmasked
        return self._end_control() if self._left < 0 else None

    def _take(self, chunk: bytes, last: bool) -> Event | None:
        """A piece of a message."""
        if not last or self._message:
            if self._kind == _TEXT:
                self._check_text(chunk, last)
            self._message += chunk
            if not last:
                return None
            chunk = bytes(self._message)
            self._message = bytearray()
        kind, self._kind = self._kind, 0
        return Binary(chunk) if kind == _BINARY else Text(_decode(chunk))

    def _check_text(self, chunk: bytes, last: bool) -> None:
        """Bad UTF-8 is found at once, also where the end of its message would never come."""
        text = self._tail + chunk
        try:
            used = utf_8_decode(text, "strict", last)[1]
        except UnicodeDecodeError:
            raise Violation(NOT_UTF8, "not UTF-8") from None
        self._tail = text[used:]

    def _end_control(self) -> Event:
        payload, self._control = self._control, b""
        if self._opcode == _PING:
            return Ping(payload)
        return Pong(payload) if self._opcode == _PONG else _closing(payload)


def _long_length(digits: bytes) -> int:
    length = int.from_bytes(digits, "big")
    if length < (126 if len(digits) == 2 else 65_536):
        raise Violation(PROTOCOL_ERROR, "a length is longer than it need be")
    if length >= 1 << 63:
        raise Violation(PROTOCOL_ERROR, "a length has its highest bit set")
    return length


def _closing(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    code, reason = int.from_bytes(payload[:2], "big"), _decode(payload[2:])
    if len(payload) == 1 or not may_be_sent(code):
        raise Violation(PROTOCOL_ERROR, "no such close code")
    return Close(code, reason)


def _decode(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(NOT_UTF8, "not UTF-8") from None
