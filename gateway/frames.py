"""WebSocket frames as a server sends them (RFC 6455, section 5.2): unmasked, so that one fits every connection."""

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
