"""`python -m benchmarks.behind PORT COMMAND ...`: becomes the command when something listens on that port."""

import os
import socket
import sys
import time
from contextlib import suppress

SECONDS = 10.0


def main(port: int, argv: list[str]) -> None:
    """Raises SystemExit where nothing does in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            os.execvp(argv[0], argv)
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
