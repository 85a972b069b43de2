"""Run in an environment that has the official OpenAI SDK, against two gateways with a real model behind them. Prints
what came of it as JSON."""

import json
import sys
from typing import Any

import openai
from openai import OpenAI

PROMPT = "Tell me a story."
ASKED: Any = {"model": "default", "temperature": 0}
MESSAGES: Any = [{"role": "user", "content": PROMPT}]
FURTHER = "Go on."
LENGTH = 120  # tokens of a reply
RESUMED = 2_000  # of one that is resumed
LONG = 30_000  # of one that is stopped: longer than anybody waits
TOO_LONG = "x" * 40_000  # more than the model can read


def chat(client: OpenAI) -> Any:
    answer = client.chat.completions.create(**ASKED, messages=MESSAGES, max_tokens=LENGTH)
    [choice], usage = answer.choices, answer.usage
    return [choice.message.content, choice.finish_reason, answer.model, usage.prompt_tokens, usage.completion_tokens]


def chat_stream(client: OpenAI) -> Any:
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        **ASKED, messages=MESSAGES, max_completion_tokens=LENGTH, stream=True, stream_options=options
    )
    *chunks, last = stream
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    usage = last.usage
    return [text, chunks[-1].choices[0].finish_reason, last.model, usage.prompt_tokens, usage.completion_tokens]


def chat_stop(client: OpenAI) -> Any:
    """A text to stop at, which the model server knows best."""
    answer = client.chat.completions.create(**ASKED, messages=MESSAGES, max_tokens=LENGTH, stop=["x"])
    return [answer.choices[0].message.content, answer.choices[0].finish_reason]


def responses(client: OpenAI) -> Any:
    first = client.responses.create(**ASKED, input=PROMPT, max_output_tokens=LENGTH)
    second = client.responses.create(**ASKED, input=FURTHER, max_output_tokens=LENGTH, previous_response_id=first.id)
    usage = first.usage
    details = [first.status, first.incomplete_details.reason, usage.input_tokens, usage.output_tokens]
    return [first.output_text, *details, second.output_text]


def responses_stream(client: OpenAI) -> Any:
    events = list(client.responses.create(**ASKED, input=PROMPT, max_output_tokens=LENGTH, stream=True))
    last = events[-1]
    return [_text(events), _counted(events), last.type, last.response.usage.output_tokens]


def socket(client: OpenAI) -> Any:
    with client.responses.connect() as connection:
        connection.response.create(**ASKED, input=PROMPT, max_output_tokens=LENGTH)
        events = []
        for event in connection:
            events.append(event)
            if event.type == "response.incomplete":
                break
    return [_text(events), _counted(events)]


def resume(client: OpenAI, other: OpenAI) -> Any:
    """Begun at one gateway, gone on with at another."""
    events = []
    stream = client.responses.create(**ASKED, input=PROMPT, max_output_tokens=RESUMED, stream=True, background=True)
    for event in stream:
        events.append(event)
        if _text(events)[20:]:
            break
    stream.close()
    events += other.responses.retrieve(events[0].response.id, stream=True, starting_after=events[-1].sequence_number)
    return [_text(events), _counted(events), events[-1].response.output_text == _text(events)]


def cancel(client: OpenAI, other: OpenAI) -> Any:
    """In mid-stream, from the other gateway."""
    stream = client.responses.create(**ASKED, input=PROMPT, max_output_tokens=LONG, stream=True, background=True)
    events = []
    for event in stream:
        events.append(event)
        if event.type == "response.output_text.delta" and len(events) < 10:
            stopped = other.responses.cancel(events[0].response.id)
    text = _text(events)
    return [stopped.status, stopped.output_text == text, 0 < len(text) < LONG, events[-1].type]


def too_long(client: OpenAI) -> Any:
    """Chat completions and responses, whole and as a stream."""
    long: Any = [{"role": "user", "content": TOO_LONG}]
    asked = {
        "chat": lambda: client.chat.completions.create(**ASKED, messages=long),
        "chat_stream": lambda: list(client.chat.completions.create(**ASKED, messages=long, stream=True)),
        "response": lambda: client.responses.create(**ASKED, input=TOO_LONG),
    }
    found = {}
    for name, ask in asked.items():
        try:
            ask()  # type: ignore[no-untyped-call]
        except openai.APIStatusError as error:
            found[name] = [type(error).__name__, error.code, error.response.headers["x-should-retry"]]
    events = list(client.responses.create(**ASKED, input=TOO_LONG, stream=True))
    found["response_stream"] = [events[-1].type, events[-1].response.error.code]
    return found


def leave(client: OpenAI) -> Any:
    """In the middle of a reply."""
    stream = client.chat.completions.create(**ASKED, messages=MESSAGES, max_tokens=LONG, stream=True)
    heard = [next(stream).choices[0].delta.content or "" for _ in range(10)]
    stream.close()
    return ["".join(heard)]


def _text(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def _counted(events: list[Any]) -> bool:
    return [event.sequence_number for event in events] == list(range(len(events)))


ALONE = (chat, chat_stream, chat_stop, responses, responses_stream, socket, too_long, leave)
TOGETHER = (resume, cancel)


def main(base_url: str, other_url: str) -> None:
    """All of it."""
    client = OpenAI(base_url=base_url, api_key="any", max_retries=0)
    other = OpenAI(base_url=other_url, api_key="any", max_retries=0)
    found = {work.__name__: work(client, other) for work in TOGETHER}
    found |= {work.__name__: work(client) for work in ALONE}
    found["asked"] = [PROMPT, FURTHER, LENGTH, RESUMED]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
