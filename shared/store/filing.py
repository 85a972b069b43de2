"""When a journal is to be filed: as soon as little else is to be done, but not much later than that. Pure; times are
those of one clock, in seconds."""

REST = 1.0  # seconds without a write, after which there is time for it
LATEST = 10.0  # seconds that anything waits for it at most: readers wait for all that is not filed yet
MOST = 64 << 20  # bytes, the same


class Filing:
    """What is known of one process's writes; others may file them, too."""

    def __init__(self, now: float) -> None:
        self._size = 1  # another process may have left something
        self._first = self._last = now

    def wrote(self, size: int, now: float) -> None:
        """So many bytes are in the journal now."""
        if self._size == 0:
            self._first = now
        self._size += size
        self._last = now

    @property
    def due_at(self) -> float | None:
        """When it is time; None: there is nothing to be filed."""
        if self._size == 0:
            return None
        return self._first if self._size >= MOST else min(self._last + REST, self._first + LATEST)

    def failed(self, now: float) -> None:
        """The database would not have it now: it is tried again."""
        self._first = self._last = now + REST

    def done(self) -> None:
        """The journal is empty."""
        self._size = 0
