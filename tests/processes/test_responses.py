"""A response whose gateway is killed, read on at another one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.openai.response_id import ResponseId
from tests.gateway.openai.speaking import events, text_of
from tests.processes.service import Gateway, Service, running_service, until

CHUNKS = 40
TEXT = "\n".join(f"chunk {number}: Hello" for number in range(1, CHUNKS + 1))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings = {"LLM_CHAT_ECHO_INTERVAL": "0.03", "LLM_CHAT_ECHO_CHUNKS": str(CHUNKS)}
    with running_service(tmp_path, **settings) as service:
        yield service


def url(gateway: Gateway, path: str = "") -> str:
    return f"http://127.0.0.1:{gateway.port}/v1/responses{path}"


def read_until_killed(gateway: Gateway, body: dict[str, Any]) -> str:
    """What came before the gateway's sudden death in mid-reply."""
    heard = ""
    with httpx2.stream("POST", url(gateway), json=body, timeout=10) as response:
        try:
            for piece in response.iter_text():
                heard += piece
                if "chunk 10" in heard:
                    gateway.process.kill()
        except httpx2.HTTPError:
            return heard
    raise AssertionError("the gateway survived its death")


@pytest.mark.parametrize("background", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_killed_gateway_costs_not_a_byte(service: Service, background: bool) -> None:
    first, second = service.gateway(), service.gateway()
    service.worker()
    service.ready(first)
    service.ready(second)
    heard = read_until_killed(first, {"model": "echo", "input": "Hello", "stream": True, "background": background})
    whole_events = heard[: heard.rindex("\n\n") + 2]  # a last one may be cut off
    found = events(whole_events)
    id, last = found[0]["response"]["id"], found[-1]["sequence_number"]
    params = {"stream": "true", "starting_after": last}

    rest = httpx2.get(url(second, f"/{id}"), params=params, timeout=10).text

    assert text_of(events(whole_events + rest)) == TEXT
    assert whole_events + rest == httpx2.get(url(second, f"/{id}"), params={"stream": "true"}, timeout=10).text
    done = httpx2.get(url(second, f"/{id}"), timeout=10).json()
    assert done == events(rest)[-1]["response"]
    assert done["output"][0]["content"][0]["text"] == TEXT


@pytest.mark.slow
def test_a_response_outlives_the_memory_of_the_queue(tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/history.db"
    settings = {"LLM_CHAT_DATABASE_URL": database, "LLM_CHAT_REPLY_RETENTION": "0.5", "LLM_CHAT_ECHO_INTERVAL": "0"}
    with running_service(tmp_path, **settings) as service:
        first, second = service.gateway(), service.gateway()
        service.worker()
        service.ready(first)
        service.ready(second)
        body = httpx2.post(url(first), json={"model": "echo", "input": "Hello"}, timeout=10).json()
        behind = {"stream": "true", "starting_after": "1"}
        until(lambda: httpx2.get(url(second, f"/{body['id']}"), params=behind, timeout=10).status_code == 400)

        assert httpx2.get(url(second, f"/{body['id']}"), timeout=10).json() == body
        asked = {"model": "echo", "input": "Bye", "previous_response_id": body["id"]}
        further = httpx2.post(url(second), json=asked, timeout=10).json()
        assert further["output"][0]["content"][0]["text"].startswith("chunk 1: Bye")
        (session,) = httpx2.get(f"http://127.0.0.1:{first.port}/api/sessions", timeout=10).json()["sessions"]
        assert ResponseId.parse(further["id"]).session == ResponseId.parse(body["id"]).session == session["id"]
