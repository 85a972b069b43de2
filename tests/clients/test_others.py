"""Libraries that speak OpenAI's interface, against real processes."""

from collections.abc import Iterator

import pytest

from tests.clients.environments import python_with
from tests.clients.serving import HERE, Gateways, echo, result_of, two_gateways

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
