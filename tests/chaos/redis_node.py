"""`python -m tests.chaos.redis_node`: becomes a Redis server."""

import os

from tests.redis_server import NEEDED, program


def main() -> None:
    """Raises SystemExit where there is none."""
    found = program()
    if found is None:
        raise SystemExit(NEEDED)
    directory = os.environ["CHAOS_REDIS_DIRECTORY"]
    os.makedirs(directory, exist_ok=True)
    words = [
        "--port",
        os.environ["CHAOS_REDIS_PORT"],
        "--bind",
        os.environ["CHAOS_REDIS_HOST"],
        "--protected-mode",
        "no",
    ]
    words += ["--save", "", "--dir", directory]
    os.execv(found, [found, *words])


if __name__ == "__main__":
    main()
