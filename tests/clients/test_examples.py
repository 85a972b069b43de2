"""Every example of docs/openai.md does what it says."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.environments import node_with, python_with
from tests.clients.serving import Gateways, base_urls, echo, output_of, two_gateways
from tests.conftest import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PAGE = (Path(__file__).parents[2] / "docs" / "openai.md").read_text()


def examples() -> dict[str, str]:
    """The first block of code below each heading of the third level."""
    found = {}
    for part in PAGE.split("\n### ")[1:]:
        heading, _, rest = part.partition("\n")
        if "```" in rest.split("\n## ")[0]:
            found[heading] = rest.split("```", 2)[1].partition("\n")[2]
    return found


EXAMPLES = examples()


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with two_gateways(tmp_path_factory.mktemp("service")) as found:
        yield found


def example(gateways: Gateways, heading: str, file: Path) -> str:
    """Write it where it can be run, with this service's address in it."""
    code = EXAMPLES[heading]
    assert "http://localhost:8080/v1" in code
    file.write_text(code.replace("http://localhost:8080/v1", base_urls(gateways)[0]))
    return str(file)


def test_they_are_all_here() -> None:
    assert list(EXAMPLES) == ["curl", "OpenAI for Python", "OpenAI for Node.js", "LangChain", "litellm", "llm"]


def test_curl(gateways: Gateways, tmp_path: Path) -> None:
    require(shutil.which("curl"), "needs curl: apt-get install curl")
    said = output_of("bash", "-e", example(gateways, "curl", tmp_path / "example.sh"))
    assert said.endswith("data: [DONE]\n\n")


def test_openai_python(gateways: Gateways, tmp_path: Path) -> None:
    python = python_with("openai>=3,<4", "websockets")
    said = output_of(str(python), example(gateways, "OpenAI for Python", tmp_path / "example.py"))
    assert said == "".join(f"{echo(text)}\n" for text in ("Hello", "Hello", "And now?", "Hello"))


def test_openai_node(gateways: Gateways) -> None:
    directory = node_with("openai@^6", "ws@^8")
    said = output_of("node", example(gateways, "OpenAI for Node.js", directory / "example.mjs"), directory=directory)
    assert said == f"{echo('Hello')}{echo('Hello')}\n{echo('Hello')}"


@pytest.mark.parametrize(
    ("heading", "package"), [("LangChain", "langchain-openai>=1,<2"), ("litellm", "litellm>=1.60,<2")]
)
def test_python(gateways: Gateways, tmp_path: Path, heading: str, package: str) -> None:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    python = str(python_with(package))
    said = output_of(python, example(gateways, heading, tmp_path / "example.py"), environment=environment)
    assert said.strip() == echo("Hello")


def test_llm(gateways: Gateways, tmp_path: Path) -> None:
    programs = python_with("llm>=0.25,<1").parent
    path = f"{programs}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "LLM_USER_PATH": str(tmp_path)}
    said = output_of("bash", "-e", example(gateways, "llm", tmp_path / "example.sh"), environment=environment)
    assert said.strip() == echo("Hello")
