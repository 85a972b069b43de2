"""A Redis server for a run, and what it says of itself: calls by name, and memory. Asked by hand, a line at a time."""

import shutil
import socket
from collections import Counter

from benchmarks.places import Unavailable

SENT = ("evalsha", "eval")  # what clients send again and again; the rest is run inside by scripts
KEEP_NAME = ("--set-proc-title", "no")  # it would overwrite its environment, by which a run knows its processes


class Server:
    """On a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def command(self) -> list[str]:
        """What starts it: nothing is kept on disk. Raises Unavailable."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise Unavailable("needs a Redis server: apt-get install redis-server")
        return [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *KEEP_NAME]

    def calls(self) -> Counter[str]:
        """Scripts that clients have had run so far."""
        found = Counter[str]()
        for line in self._info("commandstats"):
            name, _, values = line.removeprefix("cmdstat_").partition(":")
            if name in SENT:
                found[name] += int(values.partition("calls=")[2].partition(",")[0])
        return found

    def memory(self) -> int:
        """Bytes in use."""
        return next(int(line.partition(":")[2]) for line in self._info("memory") if line.startswith("used_memory:"))

    def _info(self, section: str) -> list[str]:
        with socket.create_connection(("127.0.0.1", self.port), 5) as link, link.makefile("rb") as answer:
            link.sendall(f"INFO {section}\r\n".encode())
            size = int(answer.readline()[1:])
            return answer.read(size).decode().splitlines()
