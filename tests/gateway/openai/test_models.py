from typing import Any

import pytest

from gateway.openai.models import Models
from gateway.openai.problem import Refused
from shared.settings import GatewaySettings, OpenAISettings, Settings


def models(engine: str, *listed: str, model: str | None = None) -> Models:
    settings: dict[str, Any] = {"gateway": GatewaySettings(models=listed), "openai": OpenAISettings(model=model)}
    return Models.of(Settings(engine=engine, **settings), created=1_700_000_000)


def names(found: Models) -> list[str]:
    return [model["id"] for model in found.all()["data"]]


def test_the_list_is_exactly_this() -> None:
    assert models("echo").all() == {
        "object": "list",
        "data": [{"id": "echo", "object": "model", "created": 1_700_000_000, "owned_by": "llm-chat"}],
    }
    assert models("echo").one("echo") == models("echo").all()["data"][0]


def test_an_engine_that_has_one_model_is_not_told_its_name() -> None:
    assert models("echo").resolve("echo") == ("echo", None)
    assert models("mine", "fine").resolve("fine") == ("fine", None)
    assert models("echo").resolve(None) == ("echo", None)


def test_with_a_model_server_it_is_the_configured_one() -> None:
    found = models("openai", model="llama")
    assert names(found) == ["llama"]
    assert found.resolve("llama") == ("llama", "llama")


def test_a_list_in_the_settings_goes_before_it() -> None:
    found = models("openai", "a", "b", model="llama")
    assert names(found) == ["a", "b"]
    assert found.resolve(None) == ("a", "a")
    assert found.resolve("b") == ("b", "b")


def test_where_nothing_is_configured_the_model_server_judges_names() -> None:
    found = models("openai")
    assert names(found) == ["default"]
    assert found.resolve("default") == ("default", None)
    assert found.resolve("any:7b") == ("any:7b", "any:7b")


@pytest.mark.parametrize("found", [models("echo"), models("openai", model="llama"), models("openai", "a")])
def test_an_unknown_one_is_said(found: Models) -> None:
    for ask in (found.resolve, found.one):
        with pytest.raises(Refused) as refused:
            ask("gpt-none")
        problem = refused.value.problem
        assert (problem.status, problem.param, problem.code) == (404, "model", "model_not_found")
        assert "'gpt-none'" in problem.message
