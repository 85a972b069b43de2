"""Where a process of the service writes what it saw. Cheap, and never in the service's way."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Encode = Callable[[dict[str, Any]], bytes]


def _encoder() -> Encode:
    try:
        import msgspec
    except ImportError:  # not every Python process is one of the service's
        return lambda record: json.dumps(record).encode()
    return msgspec.json.Encoder().encode


class Tape:
    """One file of records, `<role>-<pid>.jsonl`, as tests.chaos.records.Journal writes them, but several at once.

    A killed process loses none that was flushed.
    """

    def __init__(self, directory: Path, role: str) -> None:
        path = directory / f"{role}-{os.getpid()}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._encode = _encoder()
        self._lines: list[bytes] = []

    def add(self, what: str, **fields: Any) -> None:
        """A record for the next flush, with the time of now."""
        self._lines.append(self._encode({"t": time.monotonic(), "what": what, **fields}))

    def flush(self) -> None:
        """Hand over to the system what was added, in a single write."""
        if self._lines:
            lines, self._lines = self._lines, []
            lines.append(b"")
            os.write(self._descriptor, b"\n".join(lines))

    def write(self, what: str, **fields: Any) -> None:
        """Add and flush."""
        self.add(what, **fields)
        self.flush()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class Tapes:
    """The tapes of this process, by role. Opened when asked for first: before the service measures itself idle."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tapes: dict[str, Tape] = {}

    def of(self, role: str) -> Tape:
        """The one of a role. Raises OSError."""
        if role not in self._tapes:
            self._tapes[role] = Tape(self.directory, role)
        return self._tapes[role]

    def failed(self, error: BaseException) -> None:
        """The witness itself has failed: nothing it says, or fails to say, is worth anything now."""
        try:
            self.of("witness").write("witness_failed", error=f"{type(error).__name__}: {error}")
        except OSError:
            return

    def close(self) -> None:
        """Close them all. A process of the service never does."""
        for tape in self._tapes.values():
            tape.close()
        self._tapes.clear()
