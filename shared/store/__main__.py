"""`python -m shared.store upgrade`: what an operator does to the database itself.

It reads the same settings as the gateway and the worker: the environment and `.env`.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from shared import settings
from shared.store import NONE, database, opening, versions

WRONG = 2


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0, or 1 where `check` found something to do, or 2 with a sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.store", description="Looks after the database of LLM_CHAT_DATABASE_URL."
    )
    parser.add_argument("command", choices=("upgrade", "check", "where"), help=_HELP)
    command = parser.parse_args(argv).command
    text = settings.load("shared.store", []).database.url.get_secret_value()
    if text == NONE:
        sys.stderr.write("shared.store: LLM_CHAT_DATABASE_URL is none: nothing is stored\n")
        return WRONG
    try:
        return asyncio.run(_COMMANDS[command](text))
    except ValueError as error:
        sys.stderr.write(f"shared.store: {error}\n")
        return WRONG


async def _upgrade(text: str) -> int:
    url = database.parse(text)
    await opening.make(url)
    print(f"{database.shown(url)} is up to date")  # noqa: T201
    return 0


async def _check(text: str) -> int:
    sentence = versions.complaint(await opening.version(database.parse(text)))
    print(sentence or "the database is up to date")  # noqa: T201
    return 0 if sentence is None else 1


async def _where(text: str) -> int:
    print(database.shown(database.parse(text)))  # noqa: T201
    return 0


_COMMANDS = {"upgrade": _upgrade, "check": _check, "where": _where}
_HELP = "upgrade: make or change the tables; check: say whether that is due; where: name the database"

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
