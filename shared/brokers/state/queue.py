"""The request queue: round-robin between owners, first come first served within one, retries before all."""

from collections import deque
from collections.abc import Iterator

from shared.brokers.state.reply import Reply


class Queue:
    """Replies that wait for a worker. Suspects wait apart, for a worker that runs them alone."""

    def __init__(self) -> None:
        self._retries: deque[Reply] = deque()
        self._owners: dict[str, deque[Reply]] = {}  # in the order in which they are served next
        self._suspects: deque[Reply] = deque()
        self._length = 0
        self.bytes = 0  # of all their requests

    def __len__(self) -> int:
        return self._length + len(self._retries) + len(self._suspects)

    def add(self, reply: Reply) -> None:
        """To the end of its owner's line."""
        self._owners.setdefault(reply.session.owner, deque()).append(reply)
        self._length += 1
        self.bytes += len(reply.request)

    def add_again(self, reply: Reply, *, suspect: bool) -> None:
        """Before everything that has not been tried yet; a suspect apart."""
        (self._suspects if suspect else self._retries).append(reply)
        self.bytes += len(reply.request)

    @property
    def suspects(self) -> int:
        """How many wait to be run alone."""
        return len(self._suspects)

    def take_suspect(self) -> Reply | None:
        """The next one to be run alone."""
        return self._taken(self._suspects.popleft()) if self._suspects else None

    def take(self) -> Reply | None:
        """The next one that any worker may run."""
        if self._retries:
            return self._taken(self._retries.popleft())
        if not self._owners:
            return None
        owner, line = next(iter(self._owners.items()))
        reply = line.popleft()
        self._length -= 1
        del self._owners[owner]
        if line:
            self._owners[owner] = line  # the owner's turn comes again after all others
        return self._taken(reply)

    def _taken(self, reply: Reply) -> Reply:
        self.bytes -= len(reply.request)
        return reply

    def remove(self, reply: Reply) -> None:
        """Take out one that waits somewhere."""
        self.bytes -= len(reply.request)
        for line in (self._retries, self._suspects):
            if reply in line:
                line.remove(reply)
                return
        line = self._owners[reply.session.owner]
        line.remove(reply)
        self._length -= 1
        if not line:
            del self._owners[reply.session.owner]

    def place_of_last(self, owner: str) -> int:
        """How many go before the one of this owner that was added just now. Quick where it is the owner's only one, or
        there is no other owner."""
        own = len(self._owners[owner]) - 1
        if not own or len(self._owners) == 1:
            return len(self._retries) + own + len(self._owners) - 1  # an only one is at the end of the first round
        place, before = len(self._retries) + own, True
        for other, line in self._owners.items():
            if other == owner:
                before = False
            else:
                place += min(len(line), own + before)
        return place

    def in_order(self) -> Iterator[Reply]:
        """All, as they would be taken; suspects last."""
        yield from self._retries
        lines = [iter(line) for line in self._owners.values()]
        while lines:
            going = []
            for line in lines:
                reply = next(line, None)
                if reply is not None:
                    yield reply
                    going.append(line)
            lines = going
        yield from self._suspects

    def place(self, reply: Reply) -> int:
        """How many go before this one; 0 where it does not wait."""
        waits = reply.held is None and reply.ended_at is None
        return next((place for place, other in enumerate(self.in_order()) if other is reply), 0) if waits else 0
