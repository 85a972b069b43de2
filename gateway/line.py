"""The line of a session's next messages: those that the broker has not accepted yet. Pure; the hub does what it says.

One message of a session runs at a time, so the others wait here, where closing their connection drops them. A message
whose id was accepted before does not wait for its turn to run: it never runs twice, the broker only has to say so.
"""

from collections import deque
from typing import NamedTuple

from gateway.dialect import Ask

LONGEST = 8  # messages, besides the one that runs or is being submitted
REMEMBERED = 32  # ids of accepted messages


class Entry(NamedTuple):
    """A message and the connection (any object) that sent it."""

    sender: object
    ask: Ask


class Line:
    """`submitting` is on its way to the broker; `running` is the open generation (0: none that we know of)."""

    __slots__ = ("_ended", "_recent", "_waiting", "running", "submitting")

    def __init__(self) -> None:
        self.submitting: Entry | None = None
        self.running = 0
        self._ended = 0
        self._waiting: deque[Entry] = deque()
        self._recent: dict[str, None] = {}

    def push(self, entry: Entry) -> bool:
        """Join the line; False where it is full."""
        if len(self._waiting) >= LONGEST:
            return False
        self._waiting.append(entry)
        return True

    def take(self) -> Entry | None:
        """The message to be submitted now, if any: it is `submitting` until one of the next three is called."""
        if self.submitting is not None or not self._waiting:
            return None
        if self.running and self._waiting[0].ask.id not in self._recent:
            return None
        self.submitting = self._waiting.popleft()
        return self.submitting

    def accepted(self, generation: int, *, ended: bool) -> None:
        """The broker has it."""
        entry, self.submitting = self.submitting, None
        if entry is not None:
            self._recent[entry.ask.id] = None
            if len(self._recent) > REMEMBERED:
                del self._recent[next(iter(self._recent))]
        if not ended:
            self.started(generation)

    def busy(self, generation: int) -> None:
        """Another generation runs: back to the head. It may have ended since."""
        entry, self.submitting = self.submitting, None
        if entry is not None:
            self._waiting.appendleft(entry)
            self._recent.pop(entry.ask.id, None)  # the broker does not know it any more: it has to wait like the others
        self.started(generation)

    def failed(self) -> None:
        """It was refused, or its fate is unknown."""
        self.submitting = None

    def started(self, generation: int) -> None:
        """A generation is open, unless its end has been seen already: answers and events come by different ways."""
        if generation > self._ended:
            self.running = max(self.running, generation)

    def ended(self, generation: int) -> None:
        """A terminal was seen."""
        self._ended = max(self._ended, generation)
        if self.running <= self._ended:
            self.running = 0

    def holds(self, id: str) -> bool:
        """Whether a message with this id waits or is being submitted."""
        submitting = self.submitting
        if submitting is not None and submitting.ask.id == id:
            return True
        return bool(self._waiting) and any(entry.ask.id == id for entry in self._waiting)

    def reset(self) -> None:
        """The broker has forgotten all: nothing runs."""
        self.running = 0
        self._recent.clear()

    def drop(self, sender: object) -> None:
        """The sender's connection is gone: what the broker does not have yet is dropped."""
        self._waiting = deque(entry for entry in self._waiting if entry.sender is not sender)

    def clear(self) -> list[Entry]:
        """Empty the line, for whoever tells the senders. What is being submitted stays."""
        entries, self._waiting = list(self._waiting), deque()
        return entries
