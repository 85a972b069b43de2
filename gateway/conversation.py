"""What this gateway knows of a stored session's history: the context of its next message. Pure."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from shared.errors import ChatError, PromptTooLong
from shared.request import Turn
from shared.store import Exchange
from shared.window import Window, fitting

MOST_CHARACTERS = 32 << 20  # of all conversations; beyond that the ones that were longest silent are read again


class Conversation:
    """`loaded`: it holds all that can be in a context, but for the messages named in `lacking`, which have ended since.
    `opened`: the store knows the session; `open_error`: why it may not."""

    __slots__ = ("_turns", "_upto", "lacking", "loaded", "open_error", "opened", "size")

    def __init__(self, *, loaded: bool) -> None:
        self.loaded = loaded
        self.opened = False
        self.open_error: ChatError | None = None
        self.lacking: dict[str, int] = {}  # with their generations
        self.size = 0  # characters
        self._upto = 0  # the newest generation that is not lacking
        self._turns: list[tuple[Turn, Turn]] = []

    def ended(self, id: str, generation: int) -> None:
        """A terminal was seen, perhaps again."""
        if self.loaded and generation > self._upto:
            self.lacking[id] = generation

    def learn(self, asked_for: Iterable[str], exchanges: Iterable[Exchange], most: int) -> None:
        """What the store says to `asked_for`: some of them give nothing. Of more than `most` characters the
        oldest go."""
        for id in asked_for:
            self._upto = max(self._upto, self.lacking.pop(id, 0))
        for exchange in exchanges:
            self._turns.append((Turn("user", exchange.content), Turn("assistant", exchange.text)))
            self.size += len(exchange.content) + len(exchange.text)
        while self.size > most:
            self.size -= _size(self._turns.pop(0))

    def load(self, exchanges: Iterable[Exchange], upto: int, most: int) -> None:
        """All that the store has, up to the generation `upto`."""
        self.unload()
        self.loaded, self._upto = True, upto
        self.learn((), exchanges, most)

    def unload(self) -> None:
        """It has to be loaded before it is used again."""
        self.loaded, self.size, self._upto = False, 0, 0
        self.lacking.clear()
        self._turns.clear()

    def context(self, room: int) -> list[Turn]:
        """The latest exchanges that fit into so many characters, oldest first."""
        count = fitting(map(_size, reversed(self._turns)), room)
        return [turn for pair in self._turns[len(self._turns) - count :] for turn in pair]


def _size(pair: tuple[Turn, Turn]) -> int:
    return len(pair[0].content) + len(pair[1].content)


class Conversations:
    """All of them, within a bound."""

    def __init__(self, window: Window, most: int = MOST_CHARACTERS) -> None:
        self._window = window
        self._most = most
        self._size = 0
        self._kept: OrderedDict[Conversation, int] = OrderedDict()  # with the sizes that are counted

    def room(self, system: str | None, content: str, max_tokens: int | None) -> int:
        """Characters that are left for earlier turns. Raises PromptTooLong."""
        room = self._window.room(max_tokens) - len(system or "") - len(content)
        if room < 0:
            raise PromptTooLong
        return room

    def load(self, conversation: Conversation, exchanges: Sequence[Exchange], upto: int) -> None:
        """See Conversation."""
        conversation.load(exchanges, upto, self._window.characters)
        self._count(conversation)

    def learn(self, conversation: Conversation, asked_for: Iterable[str], exchanges: Sequence[Exchange]) -> None:
        """See Conversation."""
        conversation.learn(asked_for, exchanges, self._window.characters)
        if exchanges:
            self._count(conversation)

    def forget(self, conversation: Conversation) -> None:
        """Its session has gone."""
        self._size -= self._kept.pop(conversation, 0)

    def _count(self, conversation: Conversation) -> None:
        self.forget(conversation)
        self._kept[conversation] = conversation.size
        self._size += conversation.size
        while self._size > self._most and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self.forget(oldest)
            oldest.unload()
