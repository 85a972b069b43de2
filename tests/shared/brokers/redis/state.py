"""A BrokerState whose every transition is a script in a real server, so that whatever judges the one judges the
other. Time is handed in."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import redis

from shared.brokers.redis import calls
from shared.brokers.redis.scripts import META, METHODS, WAKE, scripts
from shared.brokers.state import Limits
from shared.messages import Polled
from tests.conftest import FakeClock


class ScriptedState:
    """The methods of shared.brokers.state.BrokerState, as far as wrappers call them."""

    def __init__(self, socket: str, clock: FakeClock, limits: Limits) -> None:
        self._clock = clock
        self._scripts = scripts(limits)
        self._client = cast(Any, redis.Redis(unix_socket_path=socket, protocol=2))
        self._client.flushall()
        self._wakes = self._client.pubsub()
        self._wakes.psubscribe(WAKE.replace("[", "\\[") + "*")
        self._wakes.get_message(timeout=1)
        greeting = ("the first life", "0" * 15 + "1", "1000", repr(clock.now()))
        self.epoch = self._run("greet", (b"EVAL", self._scripts["greet"].source, b"1", META, *greeting)).decode()
        self.took: list[str] = []

    def close(self) -> None:
        self._wakes.close()
        self._client.close()

    @property
    def keys(self) -> list[str]:
        return sorted(key.decode() for key in self._client.keys("*"))

    @property
    def client(self) -> Any:
        return self._client

    def take_wake(self) -> set[str]:
        """Whatever was published before the PONG."""
        self._wakes.ping("now")
        woken: set[str] = set()
        while True:
            message = self._wakes.get_message(timeout=1)
            assert message is not None
            if message["type"] == "pong":
                return woken
            if message["type"] == "pmessage":
                woken.add(message["channel"].decode().removeprefix(WAKE))

    def _run(self, method: str, words: Sequence[Any]) -> Any:
        try:
            return self._client.execute_command(*words)
        except redis.exceptions.NoScriptError:
            self._client.script_load(self._scripts[method].source)
            return self._client.execute_command(*words)

    def _call(self, method: str, *args: Any) -> Any:
        clock = repr(self._clock.now()), str(self._clock.wall_ms())
        words = calls.command(self._scripts[method], method, args, clock)
        result, owed = calls.result(method, self._run(method, words))
        for terminal in owed:
            self._call("finish", *terminal.finish())
        return result

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """Those whose script has their name and arguments."""
        if method not in METHODS:
            raise AttributeError(method)
        return partial(self._call, method)

    def drain(self, gateway: str, link: int) -> Any:
        return self._call("drain", gateway, link, False)[0]

    def batch(self, gateway: str, number: int, *, final: bool) -> Any:
        return self._call("batch", gateway, number, final)

    def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> Any:
        return self._call("poll", worker, seen, held, free_slots, alone, False)[0]

    def polled(self, worker: str, number: int, *, final: bool) -> Polled | None:
        answer = self._call("polled", worker, number, final)
        return None if answer is None else cast(Polled, answer.polled())

    def bury(self, worker: str) -> Any:
        return self._call("leave", worker, True)

    def leave_worker(self, worker: str) -> None:
        self._call("leave", worker, False)

    def tick(self) -> None:
        self._call("tick", 0)
