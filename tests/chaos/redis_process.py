"""`python -m tests.chaos.redis_process`: becomes a Redis server, by CHAOS_REDIS_ADDRESS and CHAOS_REDIS_DIRECTORY.

What is acknowledged is on disk, so that one that is killed loses nothing; a memory begins only with an empty directory.
"""

import os
from pathlib import Path

from tests.chaos.witness.tape import Tape
from tests.redis_server import NEEDED, program

READY = "Ready to accept connections"


def main() -> None:
    """Never returns."""
    host, _, port = os.environ["CHAOS_REDIS_ADDRESS"].rpartition(":")
    directory = Path(os.environ["CHAOS_REDIS_DIRECTORY"])
    if not directory.exists():
        directory.mkdir(parents=True)
        Tape(Path(os.environ["CHAOS_DIRECTORY"]), "broker").write("memory", epoch="redis")
    command = program()
    if command is None:
        raise SystemExit(NEEDED)
    words = [command, "--bind", host, "--port", port, "--protected-mode", "no", "--dir", str(directory), "--save", ""]
    words += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
    os.execv(command, words)


if __name__ == "__main__":
    main()
