"""What this gateway knows of what the store knows of a session."""

from shared.errors import ChatError


class Conversation:
    """`whole`: whatever the session ever had to do with the broker came by here. `current`: the store has how every
    reply ended that the broker knows to have ended, and the session's generation is not below any that is stored.
    `opened`: the store knows the session; `open_error`: why it may not."""

    __slots__ = ("current", "open_error", "opened", "whole")

    def __init__(self, *, begun_here: bool) -> None:
        self.whole = self.current = begun_here
        self.opened = False
        self.open_error: ChatError | None = None

    def missed(self) -> None:
        """Something may have come to its end that nobody here will see."""
        self.whole = self.current = False
