"""Frames as a server sends them (RFC 6455, section 5.2): unmasked and whole, so that one fits every connection."""

PING = b"\x89\x00"
SHORT_TEXT = tuple(bytes((0x81, length)) for length in range(126))  # the heads of text frames
_LONGEST_REASON = 123  # bytes, of the 125 that a control frame may have


def text_frame(payload: bytes) -> bytes:
    """One whole text message. `payload` must be UTF-8; nobody checks it again."""
    length = len(payload)
    return SHORT_TEXT[length] + payload if length < 126 else _long(0x81, payload)


def binary_frame(payload: bytes) -> bytes:
    """One whole binary message."""
    length = len(payload)
    return bytes((0x82, length)) + payload if length < 126 else _long(0x82, payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping, with its payload of at most 125 bytes."""
    return bytes((0x8A, len(payload))) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """None: a close without a code. A reason that is too long is cut between two characters."""
    if code is None:
        return b"\x88\x00"
    words = reason.encode()[:_LONGEST_REASON].decode(errors="ignore").encode()
    return bytes((0x88, len(words) + 2)) + code.to_bytes(2, "big") + words


def _long(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload
