"""How much of a conversation a model is given. Pure.

Tokens are estimated by characters, since only the model's own tokenizer could count them. Of the window a part is left
for the reply: what the message asks for, else a setting, but never more than half. The system prompt and the message
itself always go in, and where they alone are too long the message is refused. Before it come as many of the latest
exchanges (a message with its reply) as there is room for, without a gap: the first one from the end that does not fit
ends it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from shared.errors import PromptTooLong

CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English


def tokens_in(characters: int) -> int:
    """An estimate."""
    return -(-characters // CHARACTERS_PER_TOKEN)


class Window(NamedTuple):
    """What a model can read and write together, and how much of it is left for the reply. In tokens."""

    tokens: int
    reply_tokens: int

    def room(self, own: int, max_tokens: int | None) -> int:
        """Characters that are left for earlier turns where `own` always go in. Raises PromptTooLong."""
        reply = min(max_tokens or self.reply_tokens, self.tokens // 2)
        room = (self.tokens - reply) * CHARACTERS_PER_TOKEN - own
        if room < 0:
            raise PromptTooLong
        return room


def fitting(sizes: Iterable[int], room: int) -> int:
    """How many of these fit, beginning with the first. `sizes` and `room` in characters."""
    count = 0
    for size in sizes:
        room -= size
        if room < 0:
            break
        count += 1
    return count
