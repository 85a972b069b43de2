"""A master, its replica and their sentinels, on one machine."""

import time
from collections.abc import Callable, Sequence

from tests.redis_server import RedisServer

NAME = "mymaster"
PATIENCE = 15.0  # seconds


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that they bring about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class SentinelServer(RedisServer):
    """`lines`: what its file begins with."""

    def __init__(self, lines: Sequence[str], *options: str, binary: str | None = None) -> None:
        self._lines = lines
        super().__init__("--sentinel", *options, binary=binary)

    def _file(self) -> list[str]:
        """It writes into it what it has learnt, and finds that when it comes again."""
        file = self.directory / "sentinel.conf"
        if not file.exists():
            file.write_text("\n".join([*self._lines, ""]))
        return [str(file)]


class Sentinel(SentinelServer):
    """One that takes a silence of `down` seconds for a death, where `quorum` of them do. `lines`: more for its file."""

    def __init__(self, master: RedisServer, quorum: int, down: float, *lines: str) -> None:
        monitored = f"sentinel monitor {NAME} 127.0.0.1 {master.port} {quorum}"
        patience = f"sentinel down-after-milliseconds {NAME} {round(down * 1000)}"
        super().__init__([monitored, patience, f"sentinel failover-timeout {NAME} 3000", *lines])


class House:
    """`master` and `replica` as they begin. `url`: what leads to whichever is the master."""

    def __init__(self, sentinels: int = 1, down: float = 0.4, *options: str) -> None:
        options = ("--repl-diskless-sync-delay", "0", *options)
        self.master = RedisServer(*options)
        self.replica = RedisServer("--replicaof", "127.0.0.1", str(self.master.port), *options)
        self.sentinels = [Sentinel(self.master, sentinels // 2 + 1, down) for _ in range(sentinels)]
        until(self._ready, "the sentinels do not find everybody")

    @property
    def url(self) -> str:
        ends = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{ends}/{NAME}/0"

    def _ready(self) -> bool:
        """The replica has everything, and every sentinel knows the replica and all others."""
        if self.replica.run("INFO", "replication")["master_link_status"] != "up":
            return False
        lists = [(s.run("SENTINEL", "REPLICAS", NAME), s.run("SENTINEL", "SENTINELS", NAME)) for s in self.sentinels]
        return all(len(replicas) == 1 and len(others) == len(lists) - 1 for replicas, others in lists)

    @property
    def promoted(self) -> bool:
        """Whether the replica is the master now, and the sentinels say so."""
        is_master = self.replica.run("INFO", "replication")["role"] == "master"
        names = [s.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1] for s in self.sentinels if s.process]
        return is_master and names == [str(self.replica.port).encode()] * len(names)

    def until_replicated(self) -> None:
        """Wait until the replica has what is written now."""
        written = self.master.run("INFO", "replication")["master_repl_offset"]
        until(lambda: self.replica.run("INFO", "replication")["slave_repl_offset"] >= written, "replication")

    def lose_replication(self) -> None:
        """What is written from now on never reaches the replica, until `replica.go_on()`."""
        self.replica.pause()
        self.master.run("CLIENT", "KILL", "TYPE", "replica")

    def remove(self) -> None:
        """Leave nothing."""
        for server in (*self.sentinels, self.replica, self.master):
            server.remove()
