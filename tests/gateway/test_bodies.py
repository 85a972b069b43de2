"""Requests' bodies, methods and refusals, over an ASGI application."""

from collections.abc import AsyncIterator

import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import refusals
from gateway.bodies import LARGEST, is_json, read_json
from gateway.refusals import STATUSES, refuse, status_of
from gateway.resource import Resource
from shared.errors import ChatError, QueueFull


class Thing(msgspec.Struct):
    """What the endpoint takes."""

    name: str
    count: int = 1


DECODER = msgspec.json.Decoder(Thing)


async def take(request: Request) -> Response:
    thing = await read_json(request, DECODER, 1000)
    return JSONResponse({"name": thing.name, "count": thing.count})


async def take_or_leave(request: Request) -> Response:
    return JSONResponse({"name": (await read_json(request, DECODER, default=b'{"name":"none"}')).name})


async def fail(request: Request) -> Response:
    raise QueueFull


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=[Route("/", Resource(POST=take, PUT=take_or_leave, GET=fail))])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as client:
        yield client


JSON = {"content-type": "application/json"}


async def test_a_good_body_is_taken(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/", content=b'{"name":"a","more":1}', headers={"content-type": "Application/JSON; x=y"})

    assert (answer.status_code, answer.json()) == (200, {"name": "a", "count": 1})


@pytest.mark.parametrize(
    ("content", "headers", "status", "code", "word"),
    [
        (b"{", JSON, 400, "invalid_message", "JSON"),
        (b"", JSON, 400, "invalid_message", "JSON"),
        (b'{"name":"\xff"}', JSON, 400, "invalid_message", "JSON"),
        (b"[" * 900, JSON, 400, "invalid_message", ""),
        (b"[]", JSON, 400, "invalid_message", "array"),
        (b"{}", JSON, 400, "invalid_message", "name"),
        (b'{"name":1}', JSON, 400, "invalid_message", "$.name"),
        (b'{"name":"a","count":"b"}', JSON, 400, "invalid_message", "$.count"),
        (b'{"name":"a"}', {"content-type": "text/plain"}, 415, "unsupported_media_type", "application/json"),
        (b'{"name":"a"}', {}, 415, "unsupported_media_type", "application/json"),
        (b" " * 1001, JSON, 413, "message_too_large", "1,000 bytes"),
    ],
)
async def test_a_bad_body_is_refused(
    client: httpx2.AsyncClient, content: bytes, headers: dict[str, str], status: int, code: str, word: str
) -> None:
    answer = await client.post("/", content=content, headers=headers)

    error = answer.json()
    assert (answer.status_code, error["code"]) == (status, code)
    assert word in error["message"]
    assert (set(error), error["type"], error["retryable"]) == ({"type", "code", "message", "retryable"}, "error", False)


async def test_a_body_of_unknown_length_is_bounded_too(client: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 400

    answer = await client.post("/", content=endless(), headers=JSON)

    assert answer.status_code == 413


async def test_a_declared_length_is_enough(client: httpx2.AsyncClient) -> None:
    answer = await client.put("/", content=b"", headers=JSON | {"content-length": str(LARGEST + 1)})

    assert answer.status_code == 413


async def test_a_body_may_be_left_out_where_there_is_a_default(client: httpx2.AsyncClient) -> None:
    assert (await client.put("/")).json() == {"name": "none"}


async def test_a_wrong_method_is_answered_by_those_that_there_are(client: httpx2.AsyncClient) -> None:
    answer = await client.delete("/")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, PUT, GET, HEAD"


async def test_an_error_is_answered_in_the_form_of_the_endpoint(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/")

    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "queue_full", True)
    assert answer.headers["retry-after"] == "1"

    app = Starlette(routes=[Route("/", Resource(lambda error, headers: Response(error.code, 418), GET=fail))])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as other:
        answer = await other.get("/")
    assert (answer.status_code, answer.text) == (418, "queue_full")


def test_every_error_has_a_status() -> None:
    ours = [error for error in ChatError.registry.values() if error.__module__.split(".")[0] in ("shared", "gateway")]
    assert {error.code for error in ours} <= set(STATUSES)
    assert all(status_of(error()) == STATUSES[error.code] for error in ours)


def test_what_may_succeed_later_says_when() -> None:
    for error in (refusals.NoWorker(), refusals.Stopping()):
        assert refuse(error).headers["retry-after"] == refusals.RETRY_AFTER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("application/json", True),
        ("application/problem+json", True),
        ("text/json", False),
        ("application/x-json", False),
        ("", False),
    ],
)
def test_what_json_is_called(value: str, expected: bool) -> None:
    assert is_json(value) is expected
