import json
from typing import Any

import pytest

from gateway.openai.problem import Refused
from gateway.openai.response_request import ResponseRequest, read_response
from shared.request import Params, Turn


def read(**fields: Any) -> ResponseRequest:
    return read_response(json.dumps({"model": "echo", "input": "Hello", **fields}).encode())


def test_a_string_is_a_users_message() -> None:
    assert read() == ResponseRequest((Turn("user", "Hello"),), "echo")


def test_items() -> None:
    items = [
        {"role": "developer", "content": "be brief"},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hel"}, {"type": "text", "text": "lo"}],
        },
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "Hi"}]},
        {"role": "user", "content": "Bye"},
    ]
    assert read(input=items).input == (
        Turn("system", "be brief"),
        Turn("user", "Hello"),
        Turn("assistant", "Hi"),
        Turn("user", "Bye"),
    )


def test_everything_else() -> None:
    asked = read(
        instructions="be kind",
        previous_response_id="resp_1",
        stream=True,
        background=True,
        temperature=0,
        top_p=0.5,
        max_output_tokens=9,
        metadata={"a": "b"},
        text={"format": {"type": "text"}},
        include=["reasoning.encrypted_content"],
        reasoning={"effort": "low"},
        stream_id="lane",
        generate=False,
    )
    assert asked == ResponseRequest(
        (Turn("user", "Hello"),),
        "echo",
        "be kind",
        "resp_1",
        Params(0.0, 9, 0.5),
        {"a": "b"},
        stream=True,
        background=True,
        generate=False,
        lane="lane",
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "assistant", "content": ""}]}, "input"),
        ({"input": [{"role": "user", "content": ""}]}, "input[0].content"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call_output", "output": "42"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"background": True, "store": False}, "store"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"temperature": -1}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as refused:
        read(**fields)
    assert (refused.value.problem.status, refused.value.problem.param) == (400, param)
