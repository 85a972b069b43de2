"""`python -m shared.brokers.redis dead list` shows what nobody could complete or read; `dead replay ID...` submits
messages of it anew."""

import asyncio
import sys
from collections.abc import Sequence

from shared import settings
from shared.broker import NoBroker
from shared.brokers.redis.dead import Letter, letters, replay
from shared.brokers.redis.link import RedisLink
from shared.brokers.redis.opening import open_link
from shared.errors import ChatError

NAME = "dead letters"  # by which the broker knows us
USAGE = "usage: python -m shared.brokers.redis dead list | dead replay ID... | dead replay --all\n"


async def _list(link: RedisLink) -> int:
    async for letter in letters(link):
        sys.stdout.write(f"{letter.line()}\n")
    return 0


async def _replay(link: RedisLink, ids: Sequence[str]) -> int:
    """Returns the exit status: 1 where one of them was not there, or is no message."""
    wanted = set(ids)
    found: list[Letter] = [letter async for letter in letters(link) if ids == ["--all"] or letter.id in wanted]
    status = 0 if ids == ["--all"] or len(found) == len(wanted) else 1
    for letter in found:
        try:
            sys.stdout.write(f"{letter.id}: submitted as {await replay(link, letter)}\n")
        except ChatError as error:
            sys.stdout.write(f"{letter.id}: not submitted: {error.message}\n")
            status = 1
    return status


async def run(words: Sequence[str]) -> int:
    """What `main` does, within a loop. Raises NoBroker."""
    link = await open_link(settings.load("python -m shared.brokers.redis", []), NAME, patient=False)
    try:
        return await (_list(link) if list(words) == ["dead", "list"] else _replay(link, list(words[2:])))
    finally:
        await link.close("leave_gateway", NAME)


def main(words: Sequence[str]) -> int:
    """Returns the exit status."""
    words = list(words)
    if words != ["dead", "list"] and not (words[:2] == ["dead", "replay"] and len(words) > 2):
        sys.stderr.write(USAGE)
        return 2
    try:
        return asyncio.run(run(words))
    except NoBroker as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
