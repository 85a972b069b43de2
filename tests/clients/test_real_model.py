"""The official Python SDK, two gateways, a worker and a real model server: llama.cpp, over a tiny model that the test
makes. What nothing is drawn for must be what the server says to somebody who asks it directly."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.environments import python_with
from tests.clients.serving import HERE, result_of
from tests.llama import MODEL, llama_server
from tests.processes.service import running_service, until

pytestmark = pytest.mark.timeout(200)  # for an installation


def test_chat_responses_resume_stop_and_a_prompt_that_is_too_long(tmp_path: Path) -> None:
    python = python_with("openai>=3,<4", "websockets")
    settings = {"LLM_CHAT_ENGINE": "openai"}
    with (
        llama_server(tmp_path, slots=1) as llama,
        running_service(tmp_path, LLM_CHAT_OPENAI_BASE_URL=llama, **settings) as service,
    ):
        gateways = service.gateway(), service.gateway()
        service.worker()
        for gateway in gateways:
            service.ready(gateway)
        found = result_of(gateways, str(python), str(HERE / "real_model_python.py"))
        until(lambda: not generating(llama), 3, "the stop of the reply whose client has left")
        prompt, further, length, resumed = found.pop("asked")
        text, long = said(llama, [prompt], length), said(llama, [prompt], resumed)
        second = said(llama, [prompt, text, further], length)
        logs = "".join(process.text() for process in service.processes)

    assert len({text, second, long[:length]}) == 2
    assert "x" in text
    used = [19, length]  # a character is a token, and the model's template adds three
    assert found == {
        "resume": [long, True, True],
        "cancel": ["cancelled", True, True, "response.incomplete"],
        "chat": [text, "length", MODEL, *used],
        "chat_stream": [text, "length", MODEL, *used],
        "chat_stop": [text[: text.index("x")], "stop"],
        "responses": [text, "incomplete", "max_output_tokens", *used, second],
        "responses_stream": [text, True, "response.incomplete", length],
        "socket": [text, True],
        "too_long": {
            "chat": ["BadRequestError", "context_length_exceeded", "false"],
            "chat_stream": ["BadRequestError", "context_length_exceeded", "false"],
            "response": ["BadRequestError", "context_length_exceeded", "false"],
            "response_stream": ["response.failed", "invalid_prompt"],
        },
        "leave": [text[: len(found["leave"][0])]],
    }
    assert found["leave"][0]
    assert "Traceback" not in logs


def said(llama: str, contents: list[str], length: int) -> str:
    """By the server, asked directly."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]
    body: Any = {"messages": messages, "temperature": 0, "max_tokens": length}
    answer = httpx2.post(f"{llama}/chat/completions", json=body, timeout=20)
    return str(answer.json()["choices"][0]["message"]["content"])


def generating(llama: str) -> bool:
    slots = httpx2.get(f"{llama.removesuffix('/v1')}/slots").json()
    return any(slot["is_processing"] for slot in slots)
