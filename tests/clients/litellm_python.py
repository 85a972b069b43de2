"""Run in an environment that has litellm. Prints what came of it as JSON."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a list of prices
import litellm


def main(base_url: str, other_url: str) -> None:
    """Chat completions whole and streamed, and an error."""
    messages = [{"role": "user", "content": "Hello"}]
    asked = {"model": "openai/echo", "api_base": base_url, "api_key": "any", "messages": messages}
    whole = litellm.completion(**asked)
    chunks = list(litellm.completion(**asked, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    try:
        litellm.completion(**{**asked, "model": "openai/gpt-none"})
    except litellm.NotFoundError as error:
        refused = error.status_code
    json.dump([whole.choices[0].message.content, streamed, len(chunks) > 3, refused], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
