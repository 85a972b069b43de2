"""Records as they lie in files of JSON lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One line: at `t` monotonic seconds, `what` happened, as `source` (a file's name without its ending) saw it."""

    t: float
    what: str
    fields: dict[str, Any]
    source: str
    line: int

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def get(self, key: str, otherwise: Any = None) -> Any:
        """A field that may be missing."""
        return self.fields.get(key, otherwise)

    @property
    def role(self) -> str:
        """Which kind of observer: harness, client, worker, gateway, broker, witness."""
        return self.source.partition("-")[0]

    @property
    def name(self) -> str:
        """Which one of its kind."""
        return self.source.partition("-")[2]

    @property
    def where(self) -> str:
        """For whoever looks it up."""
        return f"{self.source}.jsonl:{self.line}"


def read(directory: Path) -> list[Record]:
    """All records, each file's in its own order. Raises OSError, and ValueError for a line that is none.

    The last line of a file may be cut off: its writer was killed.
    """
    return [record for path in sorted(directory.glob("*.jsonl")) for record in _read_file(path)]


def _read_file(path: Path) -> Iterator[Record]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            fields = json.loads(line)
            yield Record(float(fields.pop("t")), fields.pop("what"), fields, path.stem, number)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number < len(lines):
                raise ValueError(f"{path.name}:{number} is no record: {error}") from None
