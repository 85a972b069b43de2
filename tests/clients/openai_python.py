"""Run in an environment that has the official OpenAI SDK: everything it is used for here, against two gateways. Prints
what came of it as JSON."""

import asyncio
import json
import sys
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

HELLO: Any = [{"role": "user", "content": "Hello"}]


def chat(client: OpenAI) -> Any:
    answer = client.chat.completions.create(model="echo", messages=HELLO)
    return [answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage.completion_tokens > 0]


def chat_stream(client: OpenAI) -> Any:
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="echo", messages=HELLO, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    ids = {chunk.id for chunk in chunks}
    ends = [chunks[0].choices[0].delta.role, chunks[-2].choices[0].finish_reason]
    return [text, *ends, chunks[-1].usage.total_tokens > 0, len(ids)]


def chat_managed(client: OpenAI) -> Any:
    with client.chat.completions.stream(model="echo", messages=HELLO) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().choices[0].message.content


def models(client: OpenAI) -> Any:
    return [[model.id for model in client.models.list()], client.models.retrieve("echo").owned_by]


def errors(client: OpenAI) -> Any:
    found = {}
    for name, fields in (
        ("model", {"model": "gpt-none"}),
        ("n", {"n": 2}),
        ("tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ("messages", {"messages": []}),
    ):
        try:
            client.chat.completions.create(**{"model": "echo", "messages": HELLO, **fields})
        except openai.APIStatusError as error:
            found[name] = [type(error).__name__, error.code, error.param, bool(error.request_id)]
    for name, ask in (
        ("response", lambda: client.responses.retrieve("resp_none")),
        ("previous", lambda: client.responses.create(model="echo", input="x", previous_response_id="resp_none")),
    ):
        try:
            ask()  # type: ignore[no-untyped-call]
        except openai.APIStatusError as error:
            found[name] = [type(error).__name__, error.code, error.param, bool(error.request_id)]
    return found


def responses(client: OpenAI) -> Any:
    first = client.responses.create(model="echo", input="Hello", instructions="be kind")
    second = client.responses.create(model="echo", input="Bye", previous_response_id=first.id)
    items = client.responses.input_items.list(second.id)
    again = client.responses.retrieve(first.id)
    inputs = [item.content[0].text for item in items]
    return [first.output_text, first.status, second.output_text, inputs, again == first]


def responses_stream(client: OpenAI) -> Any:
    events = list(client.responses.create(model="echo", input="Hello", stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    numbers = [event.sequence_number for event in events]
    types = [event.type for event in events if not event.type.endswith("delta")]
    return [text, types, numbers == list(range(len(numbers)))]


def responses_managed(client: OpenAI) -> Any:
    with client.responses.stream(model="echo", input="Hello") as stream:
        for _ in stream:
            pass
        return stream.get_final_response().output_text


def resume(client: OpenAI, other: OpenAI) -> Any:
    """Begun at one gateway, gone on with at another."""
    heard = []
    stream = client.responses.create(model="echo", input="Hello", stream=True, background=True)
    for event in stream:
        heard.append(event)
        if event.sequence_number == 5:
            break
    stream.close()
    rest = list(other.responses.retrieve(heard[0].response.id, stream=True, starting_after=5))
    text = "".join(event.delta for event in [*heard, *rest] if event.type == "response.output_text.delta")
    numbers = [event.sequence_number for event in [*heard, *rest]]
    return [text, rest[-1].response.output_text, numbers == list(range(len(numbers)))]


def cancel(client: OpenAI, other: OpenAI) -> Any:
    while True:
        long = client.responses.create(model="echo", input="Hello", background=True)
        cancelled = other.responses.cancel(long.id)
        if cancelled.status != "completed":  # else it was faster than we
            break
    again = client.responses.retrieve(long.id)
    client.responses.delete(long.id)
    try:
        other.responses.retrieve(long.id)
    except openai.NotFoundError:
        return [long.status, cancelled.status, again.status, "gone"]


def socket(client: OpenAI) -> Any:
    found: list[str] = []
    with client.responses.connect() as connection:
        connection.response.create(model="echo", input="Hello", store=False)
        first = _until_completed(connection, found)
        connection.response.create(model="echo", input="Bye", previous_response_id=first, store=False)
        _until_completed(connection, found)
        connection.response.create(model="echo", input="Bye", previous_response_id="resp_none")
        refused = connection.recv()
    return [found, refused.type, refused.status, refused.error.code]


def _until_completed(connection: Any, found: list[str]) -> str:
    text = ""
    for event in connection:
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.completed":
            found.append(text)
            return str(event.response.id)
    raise AssertionError("the connection ended")


async def in_parallel(base_url: str) -> Any:
    async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        asked: list[Any] = [[{"role": "user", "content": str(number)}] for number in range(20)]
        answers = await asyncio.gather(
            *(client.chat.completions.create(model="echo", messages=messages) for messages in asked)
        )
    return [answer.choices[0].message.content.split("\n")[0] for answer in answers]


ALONE = (chat, chat_stream, chat_managed, models, errors, responses, responses_stream, responses_managed, socket)
TOGETHER = (resume, cancel)


def main(base_url: str, other_url: str, *names: str) -> None:
    """All of it, or what is named."""
    client = OpenAI(base_url=base_url, api_key="any", max_retries=0)
    other = OpenAI(base_url=other_url, api_key="any", max_retries=0)
    found = {work.__name__: work(client) for work in ALONE if not names or work.__name__ in names}
    found |= {work.__name__: work(client, other) for work in TOGETHER if not names or work.__name__ in names}
    if not names:
        found["in_parallel"] = asyncio.run(in_parallel(base_url))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
