"""The store beside the broker: what one knows and the other does not.

A worker stores how its reply ended before anybody sees it. A terminal that the broker made itself (a cancel, a lost
worker, a message that waited too long) is stored by the gateways that are attached; where none is, by whoever reads
the session next.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from shared.broker import GatewayBroker
from shared.clock import Clock
from shared.errors import BrokerUnavailable, ChatError, SessionNotFound
from shared.messages import Cursor, Done, Failed, Item, decode_events, text_of
from shared.store import Answer, Store, StoredTurn

PAGE_BYTES = 256 << 10
AGAIN = 1.0  # seconds until an answer that could not be stored is tried again
MOST = 10_000  # of those

log = structlog.get_logger("gateway")


class History:
    """Made within a running loop."""

    def __init__(self, store: Store, broker: GatewayBroker, clock: Clock) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._due: dict[tuple[str, int], Item] = {}  # terminals that are to be stored
        self._storing: asyncio.Task[None] | None = None

    async def turns(self, session: str) -> list[StoredTurn]:
        """All turns of a session; what the broker still knows of them, and the store does not, is stored first. Raises
        StoreUnavailable."""
        turns = await self._store.turns(session)
        last = max((turn.answer.cursor for turn in turns if turn.answer is not None), default=None)
        if not turns or not await self._store_missing(session, turns, last):
            return turns
        return await self._store.turns(session)

    def complete(self, item: Item) -> None:
        """A terminal has come of which the store may not know."""
        if needs_storing(item) and len(self._due) < MOST:
            self._due[item.session, item.generation] = item
            if self._storing is None or self._storing.done():
                self._storing = asyncio.get_running_loop().create_task(self._store_due(), name="history")

    async def close(self) -> None:
        """Stop."""
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait({self._storing})

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _store_missing(self, session: str, turns: Sequence[StoredTurn], last: Cursor | None) -> bool:
        """Whether there was something."""
        with suppress(SessionNotFound, BrokerUnavailable):
            page = await self._broker.read(session, last, 1)
            if not page.items and page.recovered:
                return False
            return await self._store_all(await self._read(session), turns)
        return False

    async def _store_all(self, items: Sequence[Item], turns: Sequence[StoredTurn]) -> bool:
        stored = {turn.question.id: turn.answer for turn in turns}
        found = False
        for item in items:
            if item.terminal and item.id in stored and _is_newer(item, stored[item.id]):
                await self._store.answer(self._answer(item, items))
                found = True
        return found

    async def _read(self, session: str) -> list[Item]:
        """All that the broker keeps of it."""
        items: list[Item] = []
        more = True
        while more:
            page = await self._broker.read(session, items[-1].cursor if items else None, PAGE_BYTES)
            items += page.items
            more = page.more and bool(page.items)
        return items

    async def _store_due(self) -> None:
        while self._due:
            for key, item in list(self._due.items()):
                if await self._try(item):
                    self._due.pop(key, None)
            if self._due:
                await asyncio.sleep(AGAIN)

    async def _try(self, item: Item) -> bool:
        """False: it is worth another try."""
        try:
            items = await self._read(item.session)
            await self._store.answer(self._answer(item, items))
        except SessionNotFound:
            return True
        except ChatError as error:
            log.debug("the end of a reply could not be stored yet", reason=error.code)
            return False
        return True

    def _answer(self, item: Item, items: Sequence[Item]) -> Answer:
        cursor, end = item.cursor, decode_events(item.events)[-1]
        assert isinstance(end, Done | Failed)
        text = text_of(one for one in items if one.generation == item.generation)
        return Answer(
            item.session,
            item.id,
            cursor.generation,
            cursor.attempt,
            cursor.seq,
            cursor.nonce,
            text,
            end,
            None,
            self._clock.wall_ms(),
        )


def needs_storing(item: Item) -> bool:
    """Whether a terminal may be one that no worker has stored: the broker's own, which stand alone at the beginning of
    an attempt, and the error of a worker that could not store how its reply ended."""
    if item.count != 1 or not item.terminal:
        return False
    return item.first == 0 or isinstance(decode_events(item.events)[0], Failed)


def _is_newer(item: Item, answer: Answer | None) -> bool:
    return answer is None or (item.generation, item.attempt) > (answer.generation, answer.attempt)
