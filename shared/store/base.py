"""The store as its users see it. These docstrings are the contract; tests/contracts proves it on every store.

S1 Idempotent   each write may be repeated: a session, a message and an answer are there once.
S2 Newest wins  an answer is never written over that of a newer attempt: its `(generation, attempt)` must not be lower
                than what stands there. So a worker that was thought dead changes nothing; an attempt whose `done` came
                too late for a cancel may write again how it ended.
S3 Deleted      is deleted: a tombstone (the session's id and nothing else) keeps a session from coming back by whatever
                is still under way for it.
S4 Confirmed    what a call has answered survives the death of the process and of the machine.
S5 Grouped      what comes while a transaction is under way goes into the next one together.
S6 Away         every call fails with StoreUnavailable where the database cannot be reached or takes no more, within
                seconds; its effect is then unknown, and it may be repeated. The store recovers by itself.

`open`, `ask`, `withdraw` and `answer` return awaitables that are started at the call: whoever needs no answer need not
await, and what one caller starts is done in that order.
"""

from asyncio import Future
from typing import Any, Protocol

from shared.store.records import Answer, Exchange, Place, Question, SessionPage, StoredSession, StoredTurn


class Store(Protocol):
    """Sessions and their turns. One object per process, used by its event loop only."""

    # --- writing -----------------------------------------------------------------------------------------------------

    def open(self, session: StoredSession) -> "Future[None]":
        """Make the session known. One that is known already stays as it is, but for a title where it has none. Fails
        with SessionNotFound where it has been deleted."""
        ...

    def ask(self, question: Question, *, fresh: bool = False) -> "Future[Answer | None]":
        """Store a message with an open turn, before it is submitted. One whose id is known stays as it is; if it has an
        answer, that is returned, and it must not run again. `fresh`: the id was made for this message, so that there
        is nothing to look for. Where there is no such session it is not kept; SessionNotFound may say so.
        """
        ...

    def withdraw(self, session: str, id: str) -> "Future[None]":
        """Remove a message that was refused behind its `ask`. Nothing happens where it has an answer."""
        ...

    def answer(self, answer: Answer) -> "Future[None]":
        """Store how a generation ended (S2). Nothing happens where the message is not there: its session is deleted."""
        ...

    # --- reading -----------------------------------------------------------------------------------------------------

    async def session(self, id: str) -> StoredSession:
        """Raises SessionNotFound. Whether the caller may see it is for whoever asks: compare `owner`."""
        ...

    async def sessions(self, owner: str, limit: int, after: Place | None = None) -> SessionPage:
        """At most `limit` sessions of an owner, those with the newest messages first."""
        ...

    async def turns(self, session: str, after: int = 0) -> list[StoredTurn]:
        """The session's turns in the order of the conversation: those with an answer above the generation `after`,
        then the open ones. Empty where there is no such session."""
        ...

    async def context(self, session: str, id: str, room: int) -> list[Exchange]:
        """The latest exchanges of a session, but for that of the message `id`, that fit into `room` characters,
        without a gap, oldest first."""
        ...

    async def turn(self, session: str, id: str) -> StoredTurn | None:
        """One message with its answer."""
        ...

    # --- changing ----------------------------------------------------------------------------------------------------

    async def rename(self, session: str, title: str) -> None:
        """Raises SessionNotFound."""
        ...

    async def annotate(self, session: str, id: str, meta: dict[str, Any]) -> None:
        """Replace the `meta` of a message. Raises SessionNotFound where there is no such message."""
        ...

    async def delete(self, session: str) -> None:
        """Remove the session with all its turns, for good (S3). Raises SessionNotFound.

        The broker's part of it is the caller's: `GatewayBroker.forget`, behind this.
        """
        ...

    # --- the store itself --------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Return where the store can be written to. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finish what is under way, within seconds, and let go of everything."""
        ...
