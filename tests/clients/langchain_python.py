"""Run in an environment that has langchain-openai. Prints what came of it as JSON."""

import json
import sys

from langchain_openai import ChatOpenAI


def main(base_url: str, other_url: str) -> None:
    """Chat completions, then responses; each whole and streamed."""
    found = {}
    for name, responses in (("chat", False), ("responses", True)):
        model = ChatOpenAI(model="echo", base_url=base_url, api_key="any", use_responses_api=responses)
        whole = model.invoke([("system", "be kind"), ("human", "Hello")])
        streamed = [chunk.text for chunk in model.stream("Hello")]
        found[name] = [whole.text, "".join(streamed), len(streamed) > 3, whole.usage_metadata["total_tokens"] > 0]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
