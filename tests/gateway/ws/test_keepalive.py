import asyncio
from collections.abc import Callable

import pytest

from gateway.ws.keepalive import Keepalive
from tests.gateway.serving import until


class Member:
    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> None:
        self.beats += 1


class Timer:
    def __init__(self, loop: "Loop", delay: float, callback: Callable[[], None]) -> None:
        self.delay = delay
        self.callback = callback
        self._loop = loop

    def cancel(self) -> None:
        self._loop.timers.remove(self)


class Loop:
    """Timers of the running loop, which only go off when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timers: list[Timer] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self._call_later)

    def _call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self, delay, callback))
        return self.timers[-1]

    @property
    def running(self) -> int:
        return len(self.timers)

    def turn(self) -> float:
        """The only timer goes off; returns the seconds that it was set to."""
        (timer,) = self.timers
        self.timers.clear()
        timer.callback()
        return timer.delay


async def test_everyone_has_a_beat_per_interval_and_the_first_one_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, keepalive = Loop(monkeypatch), Keepalive(20.0)
    members = [Member() for _ in range(1000)]
    for member in members:
        keepalive.add(member)
    time = 0.0
    beats: list[int] = []
    while time < 60.0 - 1e-6:
        before = sum(member.beats for member in members)
        time += loop.turn()
        beats.append(sum(member.beats for member in members) - before)
        if time < 10.0 - 1e-6:
            assert beats[-1] == 0
    assert {member.beats for member in members} == {3}
    assert max(beats) < 1000 / 25  # those that came together are not pinged together


async def test_one_timer_and_none_when_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, keepalive = Loop(monkeypatch), Keepalive(20.0)
    assert loop.running == 0
    spokes = [(member, keepalive.add(member)) for member in (Member(), Member(), Member())]
    assert loop.running == 1
    for member, spoke in spokes:
        keepalive.discard(member, spoke)
    assert loop.running == 0

    keepalive.add(Member())
    assert loop.running == 1


async def test_a_beat_may_end_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, keepalive = Loop(monkeypatch), Keepalive(1.0)

    class Last(Member):
        def beat(self) -> None:
            super().beat()
            keepalive.discard(self, spoke)

    last = Last()
    spoke = keepalive.add(last)
    while not last.beats:
        loop.turn()
    assert loop.running == 0


@pytest.mark.parametrize("interval", [0.004, 0.05])
async def test_a_short_interval_is_kept_on_a_real_loop(interval: float) -> None:
    keepalive, member = Keepalive(interval), Member()
    spoke = keepalive.add(member)
    await until(lambda: member.beats >= 3)
    keepalive.discard(member, spoke)
