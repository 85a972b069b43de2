"""A client's frames, right and wrong ones."""

MASK = b"\x01\x02\x03\x04"
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    form: int | None = None,
    length: int | None = None,
) -> bytes:
    """A client's frame, right or wrong. `form`: bytes of the extended length; `length`: what the header says."""
    length = len(payload) if length is None else length
    form = (0 if length < 126 else 2 if length < 65_536 else 8) if form is None else form
    second = {0: length, 2: 126, 8: 127}[form] | 0x80 * masked
    head = bytes((0x80 * fin | rsv << 4 | opcode, second)) + (length.to_bytes(form, "big") if form else b"")
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))
