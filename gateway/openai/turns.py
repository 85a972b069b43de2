"""Conversations as turns, and as the hub is asked."""

from collections.abc import Sequence

from shared.request import Turn


def split(turns: Sequence[Turn]) -> tuple[str, tuple[Turn, ...]]:
    """A user's last message and what goes before it; nothing and all, where the last turn is nobody's question."""
    if turns[-1].role == "user":
        return turns[-1].content, tuple(turns[:-1])
    return "", tuple(turns)
