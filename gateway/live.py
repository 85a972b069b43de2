"""A session that is attached here: its connections, its line, and how much of it this gateway has seen."""

from typing import TYPE_CHECKING

import msgspec

from gateway.conversation import Conversation
from gateway.dialect import Ask
from gateway.line import Line
from shared.messages import TERMINAL, Attached, Cursor, Item, Submission
from shared.request import GenerationRequest, Turn, encode_request

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.outbox import Outbox

FURTHEST = 10**15  # generations (ms since 1970) beyond that are made up, and would leave cursors no room to grow


class LiveSession:
    """Lives from the first connection that joins to the last that leaves."""

    __slots__ = (
        "_begun",
        "_held",
        "_last",
        "_last_index",
        "_last_seq",
        "_newest",
        "_seen",
        "connections",
        "conversation",
        "epoch",
        "generation",
        "heard_at",
        "id",
        "joining",
        "lane",
        "line",
        "model",
        "owner",
        "running_id",
        "system",
    )

    def __init__(
        self, id: str, owner: str, system: str | None, model: str | None, conversation: Conversation | None = None
    ) -> None:
        self.id = id
        self.conversation = conversation  # None: it is not stored
        self.owner = owner
        self.system = system
        self.model = model
        self.epoch = ""  # the broker's memory that knew the session when it was last attached
        self.connections: list[Connection] = []
        self.joining = 0  # connections whose attach has no answer yet
        self.line = Line()
        self.generation = 0  # the newest one that we know to be accepted
        self.running_id = ""  # the message that `line.running` answers
        self.heard_at = 0.0  # clock seconds of the last look that saw something new
        self._newest = self._seen = -1  # index of the newest item that we know of; the same at the last look
        self._begun = 0  # the newest generation of which a reader has seen something
        self._last: Item | None = None  # the first one that was drained of its attempt, or a later one
        self._last_seq = 0  # of the last event that was drained, in the attempt of `_last`
        self._last_index = -1  # of its item
        self.lane: Outbox | None = None  # the only reader's, while its items go the short way
        self._held: list[Item] = []  # drained before their generation's Accepted

    @property
    def after(self) -> Cursor | None:
        """The last event that was drained here."""
        if self.lane is not None:
            return self.lane.after
        return None if self._last is None else self._last.cursor._replace(seq=self._last_seq)

    @property
    def newest(self) -> int:
        """Index of the newest item that we know of."""
        return self._newest if self.lane is None else max(self._newest, self.lane.next_index - 1)

    def know(self, newest: int) -> None:
        """There is an item with this index."""
        self._newest = max(self._newest, newest)

    def look(self, now: float) -> bool:
        """Whether there is anything new since the last look. So hearing something costs nothing by itself."""
        newest = self.newest
        if newest == self._seen:
            return False
        self._seen, self.heard_at = newest, now
        return True

    @property
    def known(self) -> tuple[str, str, str | None, str | None, int, str]:
        """All by which a broker may be told of it again."""
        return self.id, self.owner, self.system, self.model, self.generation, self.epoch

    @property
    def open(self) -> list[str]:
        """The ids that are accepted and have no terminal."""
        return [self.running_id] if self.line.running else []

    def waits(self, id: str) -> bool:
        """Whether this message is accepted and nothing of its reply has been seen."""
        running = self.line.running
        return running > self._begun and self.running_id == id

    def is_new(self, id: str) -> bool:
        """Whether no message of the session ever had this id, for certain."""
        return self.conversation is not None and self.conversation.whole and self.line.is_new(id)

    def submission(self, ask: Ask, room: int | None = None) -> Submission:
        """A message as the broker takes it. Its context is its own, else the system prompt and of what is stored so
        many characters; None: it is not stored."""
        context = ask.context or ((Turn("system", self.system),) if self.system else ())
        turns = (*context, Turn("user", ask.content)) if ask.content else context
        left = 0 if room is None or ask.context else room
        request = GenerationRequest(turns, ask.model or self.model, ask.params, room is not None, left)
        note = msgspec.json.encode(ask.meta) if ask.meta else b""
        return Submission(self.id, ask.id, self.generation, encode_request(request), note)

    def is_behind(self, answer: Attached) -> bool:
        """Whether a broker that has kept its memory lacks the end of what it has told us: a server that was killed, or
        replaced by its replica, may lose its last second."""
        running = self.line.running
        unknown = bool(running) and answer.running != running and answer.ended < running
        return not answer.page.recovered or unknown

    def attached(self, answer: Attached, after: Cursor | None = None) -> None:
        """Learn what the broker knows, and from a reader's cursor what it may have forgotten: a broker without its
        memory and with a clock that was set back would otherwise give generations that are older than the reader's."""
        self.owner, self.system, self.model, self.epoch = answer.owner, answer.system, answer.model, answer.epoch
        self.know(answer.newest)
        self.line.ended(answer.ended)
        if self.conversation is not None and not answer.page.recovered:
            self.conversation.missed()
        claimed = 0 if after is None or after.generation > FURTHEST else after.generation
        self.generation = max(self.generation, claimed)
        if self.line.submitting is None:  # else it may be what is being submitted, which has no Accepted yet
            self.generation = max(self.generation, answer.running, answer.ended)
        self._begun = max(self._begun, claimed)
        if answer.running:
            self._started(answer.running, answer.open[0])

    def accepted(self, id: str, generation: int, *, ended: bool) -> None:
        """The broker has the message that was being submitted."""
        self.line.accepted(generation, ended=ended)
        self.generation = max(self.generation, generation)
        if self.line.running == generation:
            self.running_id = id

    def hold_back(self, item: Item) -> bool:
        """Whether the item has to wait for its Accepted; then it is kept until `release`."""
        if self.line.submitting is None and not self._held:
            return False
        if item.generation <= self.generation and not self._held:
            return False
        self._held.append(item)
        return True

    def release(self) -> list[Item]:
        """What was held back."""
        held, self._held = self._held, []
        return held

    def note(self, item: Item) -> None:
        """See an item, by drain or by read, perhaps again."""
        if self.lane is not None:
            self.leave_lane()
        generation, line = item.generation, self.line
        if item.flags & TERMINAL:
            line.ended(generation)
            line.remember(item.id)
        elif generation > line.running:
            self._started(generation, item.id)
        if generation > self.generation:
            self.generation = generation
        if generation > self._begun:
            self._begun = generation
        index = item.index
        if index > self._last_index:
            self._newest = max(self._newest, index)
            self._last, self._last_index, self._last_seq = item, index, item.first + item.count - 1

    def take_lane(self) -> None:
        """Let further pieces for the only reader go the short way, past `note`, if they can."""
        if len(self.connections) == 1 and not self._held:
            outbox = self.connections[0].outbox
            if outbox.live and outbox.last is self._last:
                self.lane = outbox

    def leave_lane(self) -> None:
        """Back to the usual way; what went the short one has been drained, too."""
        lane, self.lane = self.lane, None
        if lane is not None:
            self._last, self._last_seq, self._last_index = lane.last, lane.last_seq, lane.next_index - 1
            self._newest = max(self._newest, self._last_index)

    def _started(self, generation: int, id: str) -> None:
        self.line.started(generation)
        if self.line.running == generation:
            self.running_id = id
            self.line.remember(id)

    def forget(self) -> bool:
        """The broker has lost its memory. Returns whether a reply was under way."""
        pending = self.line.running != 0
        self.line.reset()
        if self.conversation is not None:
            self.conversation.missed()
        self.lane = self._last = None
        self._newest = self._last_index = self._seen = -1
        self._held = []
        return pending
