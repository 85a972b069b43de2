"""A file that is read again when it has changed: looked at when somebody asks, at most once a second."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from shared.clock import Clock

T = TypeVar("T")
LOOK_EVERY = 1.0  # seconds
Signature = tuple[int, int, int, int]

log = structlog.get_logger("auth")


class Watched(Generic[T]):
    """What `parse` makes of the file. `empty` stands for a file that is not there, or of which `parse` says by
    ValueError that it is damaged: nobody gets in by a key that cannot be read."""

    def __init__(self, path: Path, parse: Callable[[bytes], T], empty: T, clock: Clock) -> None:
        self._path = path
        self._parse = parse
        self._empty = empty
        self._clock = clock
        self._value = empty
        self._signature: Signature | None = None
        self._looked_at = float("-inf")

    def load(self) -> None:
        """Read it now, for the first time. A missing file is fine. Raises ValueError, with a sentence, where it
        cannot be read or understood."""
        try:
            self._look()
        except OSError as error:
            raise ValueError(f"{self._path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None

    def get(self) -> T:
        """As it is now, or was a second ago."""
        now = self._clock.now()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            self._look_again()
        return self._value

    def _look_again(self) -> None:
        try:
            self._look()
        except OSError as error:  # too many open files, say: that is no reason to turn everybody out
            log.error("a file cannot be read; going by what it held", file=str(self._path), why=error.strerror)
        except ValueError as error:
            log.error("a file is damaged; nothing in it counts", file=str(self._path), why=str(error))

    def _look(self) -> None:
        try:
            if _signature(os.stat(self._path)) == self._signature:
                return
            with open(self._path, "rb") as file:
                signature, data = _signature(os.fstat(file.fileno())), file.read()
        except FileNotFoundError:
            self._signature, self._value = None, self._empty
            return
        self._signature, self._value = signature, self._empty
        self._value = self._parse(data)


def _signature(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
