"""The line of a session's next messages: those that the broker has not accepted yet. Pure; the hub does what it says.

One message of a session runs at a time, so the others wait here, where closing their connection drops them. A message
whose id was accepted before does not wait for its turn to run: it never runs twice, the broker only has to say so.
"""

from typing import NamedTuple

from gateway.dialect import Ask

LONGEST = 8  # messages, besides the one that runs or is being submitted
REMEMBERED = 32  # ids of accepted messages


class Entry(NamedTuple):
    """A message and the connection (any object) that sent it. `stopped`: it has been cancelled before it was accepted,
    so that a cancel has to go before its submit, whatever the broker had heard of it."""

    sender: object
    ask: Ask
    stopped: bool = False


class Line:
    """`submitting` is on its way to the broker; `running` is the open generation (0: none that we know of)."""

    __slots__ = ("_ended", "_recent", "_waiting", "running", "submitting")

    def __init__(self) -> None:
        self.submitting: Entry | None = None
        self.running = 0
        self._ended = 0
        self._waiting: tuple[Entry, ...] = ()  # both are short and mostly empty, and there is one per idle session
        self._recent: tuple[str, ...] = ()

    def push(self, entry: Entry) -> bool:
        """Join the line; False where it is full: but for an id that was accepted, which does not stay long."""
        if len(self._waiting) >= LONGEST and entry.ask.id not in self._recent:
            return False
        self._waiting += (entry,)
        return True

    def take(self) -> Entry | None:
        """The message to be submitted now, if any: it is `submitting` until one of the next three is called."""
        if self.submitting is not None or not self._waiting:
            return None
        known = next((entry for entry in self._waiting if entry.ask.id in self._recent), None)
        if known is None and self.running:
            return None
        self.submitting = known or self._waiting[0]
        taken = self._waiting.index(self.submitting)
        self._waiting = self._waiting[:taken] + self._waiting[taken + 1 :]
        return self.submitting

    def accepted(self, generation: int, *, ended: bool) -> None:
        """The broker has it."""
        entry, self.submitting = self.submitting, None
        if entry is not None:
            self.remember(entry.ask.id)
        if not ended:
            self.started(generation)

    def remember(self, id: str) -> None:
        """The broker has a message with this id, whoever sent it."""
        if id not in self._recent:
            self._recent = (*self._recent, id)[-REMEMBERED:]

    def is_new(self, id: str) -> bool:
        """Whether no message had this id since this line began, for certain."""
        return len(self._recent) < REMEMBERED and id not in self._recent

    def busy(self, generation: int) -> None:
        """Another generation runs: back to the head. It may have ended since."""
        entry, self.submitting = self.submitting, None
        if entry is not None:
            self._waiting = (entry, *self._waiting)
            self._recent = tuple(id for id in self._recent if id != entry.ask.id)  # unknown again: it waits like others
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

    def holds(self, id: str, sender: object = None) -> bool:
        """Whether a message with this id, from this sender if one is named, waits or is being submitted."""
        submitting = self.submitting
        if submitting is not None and _is(submitting, id, sender):
            return True
        return bool(self._waiting) and any(_is(entry, id, sender) for entry in self._waiting)

    def stop(self, id: str) -> bool:
        """Mark the message with this id as stopped. False: none waits or is being submitted."""
        if not self.holds(id):
            return False
        self._waiting = tuple(_stopped(entry, id) for entry in self._waiting)
        if self.submitting is not None:
            self.submitting = _stopped(self.submitting, id)
        return True

    def reset(self) -> None:
        """The broker has forgotten all: nothing runs."""
        self.running = 0
        self._recent = ()

    def drop(self, sender: object) -> None:
        """The sender's connection is gone: what the broker does not have yet is dropped."""
        self._waiting = tuple(entry for entry in self._waiting if entry.sender is not sender)

    def clear(self) -> list[Entry]:
        """All that has no answer yet, for whoever tells the senders. Nothing waits then."""
        entries, self._waiting = list(self._waiting), ()
        return entries if self.submitting is None else [self.submitting, *entries]


def _is(entry: Entry, id: str, sender: object) -> bool:
    return entry.ask.id == id and sender in (None, entry.sender)


def _stopped(entry: Entry, id: str) -> Entry:
    return entry._replace(stopped=True) if _is(entry, id, None) else entry
