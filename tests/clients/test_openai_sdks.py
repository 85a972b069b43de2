"""The official SDKs against real processes: a script each, run once, and what came of it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import node_with, python_with
from tests.processes.service import Gateway, running_service

HERE = Path(__file__).parent
SECONDS = 60.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def echo(text: str, chunks: int = 5) -> str:
    return "\n".join(f"chunk {number}: {text}" for number in range(1, chunks + 1))


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Gateway]]:
    with running_service(tmp_path_factory.mktemp("service"), LLM_CHAT_ECHO_INTERVAL="0.02") as service:
        found = service.gateway(), service.gateway()
        service.worker()
        for gateway in found:
            service.ready(gateway)
        yield found


def run(gateways: tuple[Gateway, Gateway], *command: str, directory: Path = HERE) -> dict[str, Any]:
    urls = [f"http://127.0.0.1:{gateway.port}/v1" for gateway in gateways]
    done = subprocess.run([*command, *urls], cwd=directory, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def python(gateways: tuple[Gateway, Gateway]) -> dict[str, Any]:
    return run(gateways, str(python_with("openai>=3,<4", "websockets")), str(HERE / "openai_python.py"))


@pytest.fixture(scope="module")
def node(gateways: tuple[Gateway, Gateway]) -> dict[str, Any]:
    directory = node_with("openai@^6", "ws@^8")
    script = directory / "openai_node.mjs"
    script.write_text((HERE / script.name).read_text())
    return run(gateways, "node", str(script), directory=directory)


def test_python_chats(python: dict[str, Any]) -> None:
    assert python["chat"] == [echo("Hello"), "stop", True]
    assert python["chat_stream"] == [echo("Hello"), "assistant", "stop", True, 1]
    assert python["chat_helper"] == echo("Hello")
    assert python["in_parallel"] == [f"chunk 1: {number}" for number in range(20)]


def test_python_lists_models(python: dict[str, Any]) -> None:
    assert python["models"] == [["echo"], "llm-chat"]


def test_python_raises_the_right_exceptions(python: dict[str, Any]) -> None:
    assert python["errors"] == {
        "model": ["NotFoundError", "model_not_found", "model", True],
        "n": ["BadRequestError", "unsupported_parameter", "n", True],
        "tools": ["BadRequestError", "unsupported_parameter", "tools", True],
        "messages": ["BadRequestError", None, "messages", True],
        "response": ["NotFoundError", "response_not_found", None, True],
        "previous": ["BadRequestError", "previous_response_not_found", "previous_response_id", True],
    }


TYPES = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def test_python_makes_responses(python: dict[str, Any]) -> None:
    assert python["responses"] == [echo("Hello"), "completed", echo("Bye"), ["Bye"], True]
    assert python["responses_stream"] == [echo("Hello"), TYPES, True]
    assert python["responses_helper"] == echo("Hello")


def test_python_resumes_at_another_gateway_and_stops_from_there(python: dict[str, Any]) -> None:
    assert python["resume"] == [echo("Hello"), echo("Hello"), True]
    assert python["cancel"] == ["queued", "cancelled", "cancelled", "gone"]


def test_python_speaks_websocket_mode(python: dict[str, Any]) -> None:
    assert python["socket"] == [[echo("Hello"), echo("Bye")], "error", 400, "previous_response_not_found"]


def test_node(node: dict[str, Any]) -> None:
    assert node == {
        "chat": [echo("Hello"), "stop"],
        "chatStream": [echo("Hello"), True],
        "errors": {
            "model": ["NotFoundError", 404, "model_not_found", "model"],
            "n": ["BadRequestError", 400, "unsupported_parameter", "n"],
        },
        "responses": [echo("Hello"), echo("Bye"), echo("Bye")],
        "resume": [echo("Hello"), True, "response.completed"],
        "cancel": ["queued", "cancelled"],
        "socket": [echo("Hello"), 404, "model_not_found"],
    }
