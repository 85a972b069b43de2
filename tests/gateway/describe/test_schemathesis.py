"""/openapi.json in the hands of schemathesis: whatever it thinks of, no 5xx, and nothing that is not documented."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway import openai, rest, vercel
from gateway.describe import health
from tests.gateway.housing import house
from tests.gateway.rest.test_history import fill
from tests.memory_store import MemoryStore

# The service runs in a thread of this process. Where it takes a random number while Hypothesis draws one, Hypothesis
# believes that a strategy did it.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

USUAL, MANY = 3, 200  # examples of each operation
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
OPERATIONS = [
    (method, path)
    for paths in (health.PATHS, rest.PATHS, vercel.PATHS, openai.PATHS)
    for path, some in paths.items()
    for method in some
]


class Place:
    """A service that answers everything, in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def open(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        store = MemoryStore()
        await fill(store)
        async with house(store=store) as here:
            self.port = here.gate.port
            self._ready.set()
            while not self._over.is_set():
                for run in here.worker.take():
                    run.done("one", "two")
                await asyncio.sleep(0.002)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    place = Place()
    place.open()
    yield place
    place.close()


def examine(place: Place, method: str, path: str, mode: GenerationMode, examples: int) -> None:
    base = f"http://127.0.0.1:{place.port}"
    with requests.Session() as session:
        document = session.get(f"{base}/openapi.json", timeout=5).json()
        operation = schemathesis.openapi.from_dict(document)[path][method]

        @settings(
            max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(base_url=base, session=session, checks=CHECKS, timeout=10)

        ask()


MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
HAVE_NO_WRONG_REQUEST = {"/livez", "/readyz", "/api/chat/{id}/stream", "/api/chat/{id}/stop"}
HAVE_NO_WRONG_REQUEST |= {"/v1/models", "/v1/models/{id}"}
HAVE_NO_WRONG_REQUEST |= {"/v1/responses/{id}/cancel", "/v1/responses/{id}/input_items"}


def skips(method: str, path: str, mode: GenerationMode) -> bool:
    wrong = path not in HAVE_NO_WRONG_REQUEST and (method, path) != ("DELETE", "/v1/responses/{id}")
    return mode is GenerationMode.NEGATIVE and not wrong


TELLING = {
    ("POST", "/api/chat"),
    ("POST", "/api/sessions/{id}/messages"),
    ("GET", "/api/sessions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("PATCH", "/api/sessions/{id}"),
}
PLANS = [(*operation, mode) for operation in OPERATIONS for mode in MODES if not skips(*operation, mode)]


@pytest.mark.parametrize(("method", "path", "mode"), [plan for plan in PLANS if plan[:2] in TELLING])
def test_a_few(place: Place, method: str, path: str, mode: GenerationMode) -> None:
    examine(place, method, path, mode, USUAL)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("method", "path", "mode"), PLANS)
def test_many(place: Place, method: str, path: str, mode: GenerationMode) -> None:
    examine(place, method, path, mode, MANY)
