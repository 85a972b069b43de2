"""What was said before: the earlier turns of a message's conversation, from the store, for engines that read them."""

import asyncio
from collections.abc import Callable

import structlog

from shared.errors import ChatError, StoreUnavailable
from shared.store import Exchange, Store
from shared.window import tokens_in
from worker.engines.base import Engine, Job, Sink

LONGEST = 10.0  # seconds for which a store that is away is asked again
AGAIN = 0.5  # seconds between two tries

log = structlog.get_logger("recall")


class Recall:
    """Starts an engine's jobs; those that lack their conversation wait for it first."""

    def __init__(self, engine: Engine, store: Store | None) -> None:
        self._engine = engine
        self._store = store

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """See Engine."""
        if job.request.room <= 0 or not self._engine.contextual:
            return self._engine.start(job, sink)
        if self._store is None:
            log.error("there is no store here: LLM_CHAT_DATABASE_URL must be the gateway's")
            raise StoreUnavailable
        return _Recalling(self._engine, self._store, job, sink).abort


class _Recalling:
    """One job on its way."""

    def __init__(self, engine: Engine, store: Store, job: Job, sink: Sink) -> None:
        self._engine = engine
        self._store = store
        self._job = job
        self._sink = sink
        self._abort: Callable[[], None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def abort(self) -> None:
        """See Engine."""
        self._task.cancel()
        if self._abort is not None:
            self._abort()

    async def _run(self) -> None:
        try:
            request = self._job.request
            exchanges = await self._exchanges()
            earlier = [turn for exchange in exchanges for turn in exchange.turns]
            self._sink.prompt(tokens_in(sum(len(turn.content) for turn in (*request.turns, *earlier))))
            self._abort = self._engine.start(self._job._replace(request=request.behind(earlier)), self._sink)
        except ChatError as error:
            self._sink.fail(error)
        except Exception:
            log.exception("the engine cannot start", message_id=self._job.id)
            self._sink.fail(ChatError())

    async def _exchanges(self) -> list[Exchange]:
        """Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST
        while True:
            try:
                return await self._store.context(self._job.session, self._job.id, self._job.request.room)
            except StoreUnavailable:
                if loop.time() + AGAIN > until:
                    raise
            await asyncio.sleep(AGAIN)
