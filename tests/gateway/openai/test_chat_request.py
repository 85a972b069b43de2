import json
from typing import Any

import pytest

from gateway.openai.chat_request import ChatRequest, read_chat
from gateway.openai.problem import Refused
from shared.request import Params, Turn

USER = {"role": "user", "content": "Hello"}


def read(**fields: Any) -> ChatRequest:
    return read_chat(json.dumps({"model": "echo", "messages": [USER], **fields}).encode())


def refusal(**fields: Any) -> tuple[str | None, str | None, str]:
    with pytest.raises(Refused) as refused:
        read(**fields)
    problem = refused.value.problem
    assert problem.status == 400
    assert problem.type == "invalid_request_error"
    assert problem.headers()["x-should-retry"] == "false"
    return problem.param, problem.code, problem.message


def test_the_messages_are_the_whole_context() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "system", "content": "be kind"},
        USER,
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Bye", "name": "ann"},
    ]
    assert read(messages=messages).turns == (
        Turn("system", "be brief"),
        Turn("system", "be kind"),
        Turn("user", "Hello"),
        Turn("assistant", "Hi"),
        Turn("user", "Bye"),
    )


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert read(messages=[{"role": "user", "content": parts}]).turns == (Turn("user", "one two"),)


def test_an_empty_turn_of_the_assistant_says_nothing() -> None:
    messages = [USER, {"role": "assistant", "content": None}, {"role": "user", "content": "Well?"}]
    assert [turn.content for turn in read(messages=messages).turns] == ["Hello", "Well?"]


def test_what_is_left_out_is_the_engines_choice() -> None:
    assert read() == ChatRequest((Turn("user", "Hello"),), "echo", Params(), False, False, False)


def test_parameters() -> None:
    asked = read(temperature=0.5, top_p=1, max_tokens=7, seed=-3, stop=["a", "b", "c", "d"], frequency_penalty=0)
    assert asked.params == Params(0.5, 7, 1.0, ("a", "b", "c", "d"), -3)
    assert read(max_tokens=7, max_completion_tokens=9).params.max_tokens == 9
    assert read(stop="end").params.stop == "end"
    assert read(stop=None, temperature=None, tools=[], n=1, stream=None).params == Params()


def test_unknown_fields_are_ignored() -> None:
    assert read(store=True, user="ann", reasoning_effort="low", prediction={"a": [1]}, new_one=[]) == read()


def test_usage_is_for_streams() -> None:
    options = {"stream_options": {"include_usage": True}}
    assert read(stream=True, **options).include_usage
    assert not read(**options).include_usage


@pytest.mark.parametrize("fields", [{"background": True}, {"metadata": {"background": "true"}}])
def test_the_background_is_asked_for_in_two_ways(fields: dict[str, Any]) -> None:
    assert read(**fields).background
    assert not read(metadata={"background": "false"}).background


@pytest.mark.parametrize(
    ("fields", "param", "word"),
    [
        ({"n": 2}, "n", "More than one choice"),
        ({"n": 0}, "n", "below one"),
        ({"tools": [{"type": "function"}]}, "tools", "Tools"),
        ({"functions": [{"name": "f"}]}, "functions", "Tools"),
        ({"response_format": {"type": "json_object"}}, "response_format", "output format"),
        ({"logprobs": True}, "logprobs", "Log probabilities"),
        ({"audio": {"voice": "alloy"}}, "audio", "Audio"),
        ({"modalities": ["text", "audio"]}, "modalities", "Audio"),
        ({"web_search_options": {}}, "web_search_options", "Web search"),
        ({"messages": [{"role": "tool", "content": "42"}]}, "messages[0].role", "tools"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls", "tools"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
            "Images",
        ),
    ],
)
def test_what_no_engine_gives_is_refused_in_clear_words(fields: dict[str, Any], param: str, word: str) -> None:
    where, code, message = refusal(**fields)
    assert (where, code) == (param, "unsupported_parameter")
    assert word in message
    assert message.endswith("not supported by this service.")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": ""}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "poem"}]}]}, "messages[0].content[0].type"),
        ({"messages": [USER, {"role": "king", "content": "x"}]}, "messages[1].role"),
        ({"messages": "Hello"}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": list("abcde")}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"seed": 1 << 64}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"model": 7}, "model"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    where, _, message = refusal(**fields)
    assert where == param
    assert message.endswith(".")
    assert "`$" not in message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"x"', None),
        (b"\xff", None),
        (b"[" * 5000, None),
        (b"{}", "messages"),
    ],
)
def test_what_is_no_such_body_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(Refused) as refused:
        read_chat(body)
    assert (refused.value.problem.status, refused.value.problem.param) == (400, param)
