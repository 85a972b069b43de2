"""A model server: one HTTP client for all that is asked of it, tries again where that may help and harms nobody."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import httpx2
import structlog

from shared.errors import EngineError, EngineUnavailable
from worker.engines.base import Job
from worker.engines.openai_wire import (
    BROKE_OFF,
    LATE,
    CannotContinue,
    Complaint,
    Dialect,
    Refused,
    body,
    complaint,
    first_model,
    refused,
)

NAMELESS = "No model is chosen, and the model server does not name one."
MOST_COMPLAINT = 64 << 10  # bytes that are read of a refusal
MALFORMED = (400, 422)  # what servers answer to a field that they do not know
MOST_MODELS = 8 << 20  # bytes that are read of a list of models

log = structlog.get_logger("openai")


class Backoff(NamedTuple):
    """How long to wait before a further try, in seconds."""

    first: float = 0.5
    most: float = 8.0
    most_asked: float = 30.0
    random: Callable[[], float] = random.random

    def pause(self, tries: int, asked: float | None) -> float | None:
        """After so many tries that failed. `asked`: what the server itself wants; None: so long that it is no use."""
        if asked is not None:
            return None if asked > self.most_asked else asked + self.first * self.random()
        return min(self.most, self.first * 2.0 ** (tries - 1)) * (1 + self.random()) / 2


class Journey:
    """What the HTTP client tells of one request on its way."""

    fresh = False  # whether a connection was made for it

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        self.fresh |= event == "connection.connect_tcp.complete"


class Upstream:
    """Opens streams of chat completions.

    The model is asked for once, where neither the settings nor a request name one; `named` is then told.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        base_url: httpx2.URL,
        model: str | None,
        named: Callable[[str], None],
        retries: int,
        backoff: Backoff,
        dialect: Dialect,
    ) -> None:
        self._client = client
        self._base_url = base_url
        self._model = model
        self._named = named
        self._naming: asyncio.Task[str] | None = None
        self._retries = retries
        self._backoff = backoff
        self._dialect = dialect

    async def open(self, job: Job, deadline: float) -> httpx2.Response:
        """A response whose body is the stream; the caller closes it. `deadline` is a time of the event loop, for all
        tries together. Raises ChatError."""
        for tries in itertools.count(1):
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._try(job)
            except TimeoutError:
                raise EngineError(LATE) from None
            except Refused as refusal:
                pause = self._backoff.pause(tries, refusal.after)
                if pause is None or not refusal.passing or tries > self._retries or not _before(deadline, pause):
                    raise refusal.error from None
            log.info("the model server is asked again", pause=round(pause, 3))
            await asyncio.sleep(pause)
        raise AssertionError

    def learn_model(self) -> None:
        """Ask for the model's name now, if it is not known, so that it is when somebody needs it."""
        if self._model is None:
            self._name()

    async def close(self) -> None:
        """Close the connections."""
        if self._naming is not None:
            self._naming.cancel()
            await asyncio.wait([self._naming])
        await self._client.aclose()

    # --- one try -----------------------------------------------------------------------------------------------------

    async def _try(self, job: Job) -> httpx2.Response:
        model = job.request.model or self._model
        if model is None:
            model = await asyncio.shield(self._name())
        dialect = self._dialect
        while True:
            response = await self._send("POST", "chat/completions", self._client.timeout, body(job, model, dialect))
            if response.is_success:
                self._dialect = dialect
                return response
            found = complaint(await _beginning(response, MOST_COMPLAINT))
            adapted = dialect.adapted(found) if response.status_code in MALFORMED else dialect
            if adapted == dialect:
                _refuse(response, found, job)
            dialect = adapted

    async def _send(
        self, method: str, path: str, patience: httpx2.Timeout, content: bytes | None = None
    ) -> httpx2.Response:
        """The response, as soon as its headers are there. Raises Refused.

        A server may close a kept connection at the moment in which we use it, without a word: some do so after each
        reply. That says nothing about the request, so it is sent again, until it has had a connection of its own.
        """
        url = self._base_url.copy_with(path=f"{self._base_url.path.rstrip('/')}/{path}")
        while True:
            journey = Journey()
            request = self._client.build_request(
                method, url, content=content, timeout=patience, extensions={"trace": journey}
            )
            try:
                return await self._client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.TimeoutException, httpx2.ProxyError) as error:
                log.warning("the model server cannot be reached", error=str(error) or type(error).__name__)
                raise Refused(EngineUnavailable(), passing=True) from None
            except httpx2.HTTPError as error:
                if journey.fresh:
                    log.warning("the model server did not answer", error=str(error) or type(error).__name__)
                    raise Refused(EngineError(BROKE_OFF)) from None

    # --- the model's name --------------------------------------------------------------------------------------------

    def _name(self) -> asyncio.Task[str]:
        """Whoever asks while somebody else does shares the answer."""
        if self._naming is None:
            self._naming = asyncio.get_running_loop().create_task(self._first_model())
            self._naming.add_done_callback(self._have_name)
        return self._naming

    def _have_name(self, naming: asyncio.Task[str]) -> None:
        self._naming = None
        if not naming.cancelled() and naming.exception() is None:
            self._model = naming.result()
            self._named(self._model)

    async def _first_model(self) -> str:
        response = await self._send("GET", "models", httpx2.Timeout(self._client.timeout.connect))
        if not response.is_success and response.status_code != 404:
            _refuse(response, complaint(await _beginning(response, MOST_COMPLAINT)))
        found = first_model(await _beginning(response, MOST_MODELS))
        if found is None:
            raise Refused(EngineError(NAMELESS))
        return found


def _refuse(response: httpx2.Response, found: Complaint, job: Job | None = None) -> NoReturn:
    # Not the message: it may quote the prompt or part of a key.
    log.warning("the model server refused a request", status=response.status_code, type=found.type, code=found.code)
    if job is not None and job.text and response.status_code in MALFORMED and not found.too_long:
        raise Refused(CannotContinue())
    raise refused(response.status_code, found, _retry_after(response.headers))


def _before(deadline: float, pause: float) -> bool:
    return asyncio.get_running_loop().time() + pause < deadline


async def _beginning(response: httpx2.Response, most: int) -> bytes:
    """The body, or so many bytes of it; closes the response."""
    found = bytearray()
    try:
        async with contextlib.aclosing(response.aiter_bytes()) as parts:
            async for part in parts:
                found += part
                if len(found) >= most:
                    break
    except httpx2.HTTPError:
        pass  # what has come must do
    finally:
        await response.aclose()
    return bytes(found)


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the server wants us to wait; None where it does not say, or says it by a date."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError):
            return max(0.0, float(headers[name]) * unit)
    return None
