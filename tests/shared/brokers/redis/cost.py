"""`python -m tests.shared.brokers.redis.cost`: what a delivered chunk costs with the Redis broker and with the embedded
one: operations on Redis, CPU of each process, memory per kept reply.

One gateway, one worker with one engine process (echo), and clients in this process, which are not counted. The
commands that clients send are told from those that scripts run inside the server by INFO commandstats: the latter are
none of the network's business, but the server's CPU counts them.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import websockets

from tests.redis_server import RedisServer, free_port

SENT = {"evalsha", "eval", "subscribe", "client|setname", "client", "script|load", "script|exists", "script", "info"}
OURS = {"info"}  # asked by this command
WARM = 2.0  # seconds before counting begins


class Load(NamedTuple):
    """`streams` at a time, each of `chunks` chunks, `interval` seconds apart."""

    streams: int
    chunks: int
    interval: float


class Counted(NamedTuple):
    """CPU seconds by process, and calls of each command."""

    cpu: dict[str, float]
    calls: dict[str, int]


class Service:
    """The processes, with the broker of that URL."""

    def __init__(self, url: str, load: Load, directory: Path) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "LLM_CHAT_BROKER_URL": url,
            "LLM_CHAT_DATABASE_URL": "none",
            "LLM_CHAT_ECHO_CHUNKS": str(load.chunks),
            "LLM_CHAT_ECHO_INTERVAL": str(load.interval),
            "LLM_CHAT_AUTH_KEYS": str(directory / "keys.json"),
        }
        words = [["gateway", "--port", str(self.port), "--host", "127.0.0.1"], ["worker"]]
        self._log = (directory / "log").open("ab")
        self._processes = {
            word[0]: subprocess.Popen(
                [sys.executable, "-m", *word], env=environment, stdout=self._log, stderr=self._log
            )
            for word in words
        }

    def end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(10)
        self._log.close()

    def processes(self) -> dict[str, psutil.Process]:
        found = {"gateway": psutil.Process(self._processes["gateway"].pid)}
        for engine in psutil.Process(self._processes["worker"].pid).children():
            found["engine"] = engine
        return found


def cpu(processes: dict[str, psutil.Process]) -> dict[str, float]:
    times = {name: process.cpu_times() for name, process in processes.items()}
    return {name: time.user + time.system for name, time in times.items()}


def calls(server: RedisServer | None) -> dict[str, int]:
    stats = {} if server is None else server.run("INFO", "commandstats")
    return {name.removeprefix("cmdstat_"): int(value["calls"]) for name, value in stats.items()}


class Client:
    """One session, which asks again as soon as it is answered."""

    def __init__(self, port: int, load: Load) -> None:
        self._port = port
        self._load = load
        self.deltas = 0
        self.replies = 0

    async def run(self, begin: float) -> None:
        await asyncio.sleep(begin)
        address = f"ws://127.0.0.1:{self._port}/ws"
        async with websockets.connect(address, subprotocols=[websockets.Subprotocol("llm-chat.v1")]) as socket:
            while True:
                ask = {"type": "message", "id": f"m{self.replies}", "content": "What does a chunk cost?"}
                await socket.send(json.dumps(ask))
                while (frame := json.loads(await socket.recv()))["type"] != "done":
                    self.deltas += frame["type"] == "delta"
                self.replies += 1


async def connected(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def measure(url: str, server: RedisServer | None, load: Load, seconds: float) -> dict[str, Any]:
    """Figures by name."""
    with tempfile.TemporaryDirectory() as directory:
        service = Service(url.format(directory=directory), load, Path(directory))
        try:
            await connected(service.port)
            clients = [Client(service.port, load) for _ in range(load.streams)]
            tasks = [
                asyncio.ensure_future(client.run(number * load.interval / load.streams))
                for number, client in enumerate(clients)
            ]
            await asyncio.sleep(WARM)
            processes = service.processes()
            processes["broker"] = broker(server, directory)
            before, deltas, began = Counted(cpu(processes), calls(server)), sum(c.deltas for c in clients), time.time()
            await asyncio.sleep(seconds)
            after, chunks = Counted(cpu(processes), calls(server)), sum(c.deltas for c in clients) - deltas
            took = time.time() - began
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return figures(before, after, chunks, took, server)
        finally:
            service.end()


def broker(server: RedisServer | None, directory: str) -> psutil.Process:
    if server is not None:
        assert server.process is not None
        return server.process
    return next(process for process in psutil.process_iter() if _serves(process, directory))


def _serves(process: psutil.Process, directory: str) -> bool:
    try:
        url = process.environ().get("LLM_CHAT_BROKER_URL", "")
        return "shared.brokers.manager" in process.cmdline() and directory in url
    except psutil.Error:
        return False


def figures(before: Counted, after: Counted, chunks: int, took: float, server: RedisServer | None) -> dict[str, Any]:
    found: dict[str, Any] = {"chunks per second": round(chunks / took)}
    for name, seconds in after.cpu.items():
        found[f"CPU of {name}, µs per chunk"] = round((seconds - before.cpu[name]) * 1e6 / chunks, 1)
    if server is not None:
        made = {name: count - before.calls.get(name, 0) for name, count in after.calls.items()}
        sent = sum(count for name, count in made.items() if name in SENT - OURS)
        found["operations sent to Redis per chunk"] = round(sent / chunks, 3)
        inside = sum(count for name, count in made.items() if name not in SENT)
        found["commands run by scripts per chunk"] = round(inside / chunks, 2)
        memory = server.run("INFO", "memory")["used_memory"]
        ended = server.run("ZCARD", "{llm-chat}:ended")
        found["bytes of Redis per kept reply"] = round(memory / max(1, ended))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.shared.brokers.redis.cost")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--interval", type=float, default=0.05, help="seconds between two chunks of a stream")
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    load = Load(options.streams, options.chunks, options.interval)
    server = RedisServer()
    try:
        found = {
            "redis": asyncio.run(measure(server.url, server, load, options.seconds)),
            "manager": asyncio.run(measure("manager://{directory}/broker", None, load, options.seconds)),
        }
    finally:
        server.remove()
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
