"""Server-sent events, as far as streaming model servers use them: the data of each event, nothing else.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. Where that drops an event
that no blank line follows, this gives it: some servers end their stream so.
"""

MAX_BYTES = 1 << 20  # of a line, and of an event's data
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """A line, or an event's data, has more bytes than are allowed."""


class EventParser:
    """Bytes in, cut anywhere; the data of whole events out. After TooLong it is of no use any more."""

    __slots__ = ("_after_cr", "_data", "_data_size", "_line", "_line_size", "_max_bytes", "_started")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []  # parts of the unfinished line: joined once, however many they are
        self._line_size = 0
        self._data: list[bytes] = []  # lines of data of the unfinished event
        self._data_size = 0
        self._after_cr = False  # a line ended with a CR: a LF that follows belongs to it
        self._started = False  # the first line is behind us

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that `received` completes. Raises TooLong."""
        if not received:
            return []
        if self._after_cr:
            received = received.removeprefix(b"\n")
        self._after_cr = received.endswith(b"\r")
        *lines, rest = (received + b"$").splitlines()  # the mark: what follows the last line end is a line, too
        events = self._take(lines) if lines else []
        self._line.append(rest[:-1])
        self._line_size += len(rest) - 1
        self._check(self._line_size)
        return events

    def end(self) -> list[bytes]:
        """The same, when nothing more comes."""
        return self._take([b"", b""])

    def _take(self, lines: list[bytes]) -> list[bytes]:
        lines[0] = b"".join([*self._line, lines[0]])
        self._line.clear()
        self._line_size = 0
        if not self._started:
            lines[0] = lines[0].removeprefix(_BOM)
            self._started = True
        events: list[bytes] = []
        for line in lines:
            self._check(len(line))
            if line:
                self._keep(line)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._data_size = 0
        return events

    def _keep(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_size += len(line)  # and not of the value alone: many empty ones are not free
            self._check(self._data_size)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLong
