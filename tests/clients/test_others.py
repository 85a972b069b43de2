"""Programs that speak OpenAI's interface, against real processes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.environments import python_with
from tests.clients.serving import HERE, Gateways, base_urls, echo, output_of, result_of, two_gateways
from tests.conftest import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with two_gateways(tmp_path_factory.mktemp("service")) as found:
        yield found


def test_langchain(gateways: Gateways) -> None:
    python = python_with("langchain-openai>=1,<2")
    found = result_of(gateways, str(python), str(HERE / "langchain_python.py"))
    expected = [echo("Hello"), echo("Hello"), True, True]
    assert found == {"chat": expected, "responses": expected}


def test_litellm(gateways: Gateways) -> None:
    python = python_with("litellm>=1.60,<2")
    found = result_of(gateways, str(python), str(HERE / "litellm_python.py"))
    assert found == [echo("Hello"), echo("Hello"), True, 404]


def test_llm(gateways: Gateways, tmp_path: Path) -> None:
    llm = python_with("llm>=0.25,<1").with_name("llm")
    model = f"- model_id: echo\n  model_name: echo\n  api_base: {base_urls(gateways)[0]}\n"
    (tmp_path / "extra-openai-models.yaml").write_text(model)
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    said = output_of(str(llm), "-m", "echo", "--key", "any", "Hello", environment=environment)
    assert said.strip() == echo("Hello")


def test_curl(gateways: Gateways) -> None:
    require(shutil.which("curl"), "needs curl: apt-get install curl")
    body = '{"model":"echo","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    url = f"{base_urls(gateways)[0]}/chat/completions"
    said = output_of("curl", "-sN", url, "-H", "Content-Type: application/json", "-d", body)
    assert said.endswith("data: [DONE]\n\n")
    assert said.count("data: ") == 8
