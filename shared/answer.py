"""The answer to a call that is under way: a future, and for those who only want to be called back, less than one."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from shared.errors import ChatError

T = TypeVar("T")


class Answer(asyncio.Future[T]):
    """Whoever awaits it or adds callbacks has a future. Whoever takes it by `then` is called back in the very step in
    which it comes, without a turn of the event loop in between: that is for the hot path.

    `made_at` is the loop time of the call. `settled`: it has come or never will; what comes later is dropped.
    """

    __slots__ = ("_done", "_failed", "made_at", "settled")

    def __init__(self, made_at: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.made_at = made_at
        self.settled = False
        self._done: Callable[[T], None] | None = None
        self._failed: Callable[[ChatError], None] | None = None

    def then(self, done: Callable[[T], None], failed: Callable[[ChatError], None]) -> None:
        """Call one of the two, once. It may be awaited all the same."""
        self._done, self._failed = done, failed

    def bring(self, result: T) -> None:
        """It is here."""
        if self.settled:
            return
        self.settled = True
        if not self.done():  # else whoever awaited it has given up
            self.set_result(result)
        if self._done is not None:
            self._done(result)

    def bring_error(self, error: Exception) -> None:
        """The call failed. An error that is none of ours is raised where nobody but `then` could be told."""
        if self.settled:
            return
        self.settled = True
        if not self.done():
            self.set_exception(error)
            self.exception()  # whoever needs no answer need not look at the error
        if self._failed is not None:
            if not isinstance(error, ChatError):
                raise error
            self._failed(error)


def then(future: "asyncio.Future[T]", done: Callable[[T], None], failed: Callable[[ChatError], None]) -> None:
    """Call back when the answer is here. An error that is none of ours goes to the event loop's handler."""
    if isinstance(future, Answer):
        future.then(done, failed)
        return

    def answered(future: "asyncio.Future[T]") -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            done(future.result())
        elif isinstance(error, ChatError):
            failed(error)
        else:
            raise error

    future.add_done_callback(answered)


def ignore(error: ChatError) -> None:
    """What failed is tried again when the broker is back."""
