"""The official SDKs against real processes: a script each, run once, and what came of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.environments import node_with, python_with
from tests.clients.serving import HERE, Gateways, echo, result_of, two_gateways

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with two_gateways(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="module")
def python(gateways: Gateways) -> dict[str, Any]:
    interpreter = python_with("openai>=3,<4", "websockets")
    found: dict[str, Any] = result_of(gateways, str(interpreter), str(HERE / "openai_python.py"))
    return found


@pytest.fixture(scope="module")
def node(gateways: Gateways) -> dict[str, Any]:
    directory = node_with("openai@^6", "ws@^8")
    script = directory / "openai_node.mjs"
    script.write_text((HERE / script.name).read_text())
    found: dict[str, Any] = result_of(gateways, "node", str(script), directory=directory)
    return found


def test_python_chats(python: dict[str, Any]) -> None:
    assert python["chat"] == [echo("Hello"), "stop", True]
    assert python["chat_stream"] == [echo("Hello"), "assistant", "stop", True, 1]
    assert python["chat_managed"] == echo("Hello")
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
    assert python["responses_managed"] == echo("Hello")


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
