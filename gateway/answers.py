"""Going on with a broker's answer: a callback each for what it brings and for its error, and no task."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from shared.answer import Answer
from shared.errors import ChatError

T = TypeVar("T")


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
