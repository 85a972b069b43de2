"""Writes what one process or client saw, as JSON lines that only grow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Journal:
    """One file of records, `<name>.jsonl`. A record has `t`, monotonic seconds, and `what` happened.

    On Linux all processes have the same monotonic clock. A record goes to the file at once, in a single write, so that
    a killed process leaves all that it wrote.
    """

    def __init__(self, directory: Path, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the file, to append. Raises OSError."""
        self.path = directory / f"{name}.jsonl"
        self._clock = clock
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, what: str, **fields: Any) -> None:
        """Add one record, with the time of now. Raises OSError, and TypeError for what is no JSON."""
        record = {"t": round(self._clock(), 6), "what": what, **fields}
        os.write(self._descriptor, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file. Nothing can be written afterwards."""
        os.close(self._descriptor)
