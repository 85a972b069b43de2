"""The engine for any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, OpenAI itself.

A reply that another worker began starts again, unless the settings say that the server `continues` a message: then the
text that stands is sent along and the server goes on behind it, wherever nobody could tell that from one worker's text.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from urllib.parse import urlsplit

import httpx2
import structlog

from shared.errors import ChatError, EngineError
from shared.settings import OpenAISettings, Settings
from worker.engines.base import Job, Sink
from worker.engines.openai_upstream import Backoff, Upstream
from worker.engines.openai_wire import BROKE_OFF, LATE, MISFORMED, SILENT, CannotContinue, Dialect, Reply, tokens_left
from worker.engines.sse import EventParser, TooLong

SLOTS = 64
UNNAMED = "default"  # what stands for the model until the server has named it
SPARE_CONNECTIONS = 8  # for those that are just being closed, and for asking after the model
KEEPALIVE = 3.0  # seconds that an unused connection is kept: less than servers do, so that none closes while we send
LEEWAY = 5.0  # seconds that the engine's own time-outs have before its lease runs out
LAST_WAIT = 2.0  # seconds for the usage and the end of the stream once the text is complete
BACKOFF = Backoff()

log = structlog.get_logger("openai")


class OpenAIEngine:
    """See worker.engines.base.Engine."""

    contextual = True
    blocks = False
    slots = SLOTS

    def __init__(
        self, client: httpx2.AsyncClient, base_url: httpx2.URL, options: OpenAISettings, backoff: Backoff
    ) -> None:
        self.model = options.model or UNNAMED
        self.continues = options.continues
        self.first_piece_limit = options.first_token_timeout + LEEWAY
        self.next_piece_limit = options.between_token_timeout + LEEWAY
        self._first = options.first_token_timeout
        self._between = options.between_token_timeout
        dialect = Dialect(counts=options.continues)  # so that it is known how many tokens a continuation may have
        self._upstream = Upstream(client, base_url, options.model, self._named, options.retries, backoff, dialect)
        self._upstream.learn_model()
        self._running: set[asyncio.Task[None]] = set()

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """Ask the server. The abort closes the connection, which makes the server stop, too."""
        if job.text and not can_continue(job):
            sink.restart()
            job = Job(job.request)
        left = tokens_left(job)
        if left is not None and left <= 0:
            sink.finish("length")
            return lambda: None
        task = asyncio.get_running_loop().create_task(self._run(job, sink))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        aborted = False

        def abort() -> None:
            nonlocal aborted
            if not aborted:  # a second cancel would disturb the closing
                aborted = True
                task.cancel()

        return abort

    async def close(self) -> None:
        """End what still runs, close the connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._upstream.close()

    def _named(self, model: str) -> None:
        self.model = model

    async def _run(self, job: Job, sink: Sink) -> None:
        try:
            await self._reply(job, sink)
        except ChatError as error:
            sink.fail(error)
        except Exception:
            log.exception("the engine failed")
            sink.fail(EngineError())

    async def _reply(self, job: Job, sink: Sink) -> None:
        deadline = asyncio.get_running_loop().time() + self._first
        try:
            response = await self._upstream.open(job, deadline)
        except CannotContinue:
            log.warning("the model server does not continue a message; see LLM_CHAT_OPENAI_CONTINUES")
            sink.restart()
            response = await self._upstream.open(Job(job.request), deadline)
        try:
            async with contextlib.aclosing(response.aiter_bytes()) as received:
                reply = await self._relay(received, sink, deadline)
                sink.finish(reply.reason, reply.usage)
                await _drain(received)
        finally:
            await response.aclose()

    async def _relay(self, received: AsyncGenerator[bytes, None], sink: Sink, deadline: float) -> Reply:
        """Pass the pieces on; returns when all is said. What brings no text does not move the deadline."""
        loop = asyncio.get_running_loop()
        parser, reply = EventParser(), Reply()
        while not reply.done:
            data = await _next(received, deadline, reply)
            if _give(parser, data, reply, sink):
                if sink.congested:
                    await sink.relief()
                deadline = loop.time() + self._between
            if reply.complete:
                deadline = min(deadline, loop.time() + LAST_WAIT)
            if not data:
                break
        if not reply.complete:
            raise EngineError(BROKE_OFF)
        return reply


def can_continue(job: Job) -> bool:
    """Whether the server's text behind `job.text` makes a whole that one worker could have written.

    Not with a seed, unless nothing is drawn: the server would begin its random numbers anew. Not behind white space:
    many chat templates cut that off, and it would come twice.
    """
    params = job.request.params
    repeatable = params.seed is not None and params.temperature != 0
    return not repeatable and not job.text[-1].isspace()


async def _next(received: AsyncGenerator[bytes, None], deadline: float, reply: Reply) -> bytes:
    """What comes next; nothing at the end, and where the text is complete and what may follow it does not come."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(received, b"")
    except TimeoutError:
        error = EngineError(SILENT if reply.begun else LATE)
    except httpx2.HTTPError:
        error = EngineError(BROKE_OFF)
    if reply.complete:
        return b""
    raise error


def _give(parser: EventParser, data: bytes, reply: Reply, sink: Sink) -> bool:
    """Hand the pieces in `data` to the sink; returns whether there was one."""
    gave = False
    try:
        events = parser.feed(data) if data else parser.end()
    except TooLong:
        raise EngineError(MISFORMED) from None
    for event in events:
        if text := reply.take(event):
            sink.piece(text, reply.tokens())
            gave = True
    return gave


async def _drain(received: AsyncGenerator[bytes, None]) -> None:
    """Read to the very end, so that the connection can be used again."""
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(LAST_WAIT):
            async for _ in received:
                pass


# --- from the settings ------------------------------------------------------------------------------------------------


def open_engine(settings: Settings, backoff: Backoff = BACKOFF) -> OpenAIEngine:
    """The engine as the settings want it. Raises ValueError, with a sentence, where they make no sense."""
    url = _url(settings.openai.base_url)
    client = _client(settings.openai, settings.worker.slots or SLOTS)
    return OpenAIEngine(client, url, settings.openai, backoff)


def _url(text: str) -> httpx2.URL:
    try:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:  # a port too large raises
            return httpx2.URL(text)
    except (ValueError, httpx2.InvalidURL):
        pass
    raise ValueError("LLM_CHAT_OPENAI_BASE_URL is no address of the form http://localhost:11434/v1")


def _client(options: OpenAISettings, slots: int) -> httpx2.AsyncClient:
    """Without time-outs but for connecting: an engine has its own. What is on this machine is asked without a proxy."""
    headers = {
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",  # nothing that waits for more text before it can be unpacked
        "Content-Type": "application/json",
        **_key(options),
    }
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(None, connect=options.connect_timeout, pool=options.connect_timeout),
        limits=httpx2.Limits(
            max_connections=slots + SPARE_CONNECTIONS,
            max_keepalive_connections=slots,
            keepalive_expiry=KEEPALIVE,
        ),
        mounts={"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None},
    )


def _key(options: OpenAISettings) -> dict[str, str]:
    key = options.api_key.get_secret_value() if options.api_key is not None else ""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("LLM_CHAT_OPENAI_API_KEY holds a character that no key has")
    return {"Authorization": f"Bearer {key}"} if key else {}
