"""WebSocket frames (RFC 6455, section 5.2): as a server sends them, unmasked, so that one fits every connection; and
just enough of what clients send to know the commonest case, a read that is one whole text frame, from all others."""

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets without its C part
    from websockets.utils import apply_mask

_TEXT = 0x81  # FIN and opcode 1
_SHORT = tuple(bytes((_TEXT, length)) for length in range(126))


def text_frame(payload: bytes) -> bytes:
    """One whole text message. `payload` must be UTF-8; nobody checks it again."""
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def whole_text(data: bytes) -> bytes | None:
    """The payload of what a client sent, where that is exactly one text frame, unfragmented and masked as it must be.

    None for everything else, faults included: those are for the real parser.
    """
    size = len(data)
    if size < 6 or data[0] != _TEXT or data[1] < 128:
        return None
    length, start = data[1] - 128, 2
    if length == 126:
        length, start = int.from_bytes(data[2:4], "big"), 4
    if length >= 65_536 or size != start + 4 + length or (start == 4) != (length >= 126):
        return None
    return apply_mask(data[start + 4 :], data[start : start + 4])


class Boundary:
    """Follows a client's frames by their headers alone: does what was fed end between two messages?"""

    __slots__ = ("_header", "_open", "_skip")

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0  # bytes of payload still to come
        self._open = False  # in the middle of a fragmented message

    def feed(self, data: bytes) -> bool:
        """Go on; True at a boundary."""
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
            else:
                self._header.append(data[at])
                at += 1
                self._read_header()
        return not (self._skip or self._header or self._open)

    def _read_header(self) -> None:
        header = self._header
        if len(header) < 2:
            return
        length = header[1] & 0x7F
        extended = {126: 2, 127: 8}.get(length, 0)
        masked = 4 if header[1] & 0x80 else 0
        if len(header) < 2 + extended + masked:
            return
        if header[0] & 0x0F < 8:  # control frames may come between fragments
            self._open = not header[0] & 0x80
        self._skip = int.from_bytes(header[2 : 2 + extended], "big") if extended else length
        header.clear()
