import asyncio

import pytest

from gateway.deadlines import Deadlines

SOON = 0.02  # seconds; nothing here depends on how exactly it is kept


class Connection:
    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


async def test_who_says_nothing_is_dropped() -> None:
    deadlines, connection = Deadlines(SOON), Connection()
    deadlines.add(connection)

    await connection.aborted.wait()

    assert connection not in deadlines


async def test_who_is_done_in_time_is_left_alone() -> None:
    deadlines, quick, slow = Deadlines(SOON), Connection(), Connection()
    deadlines.add(quick)
    deadlines.add(slow)
    deadlines.discard(quick)

    await slow.aborted.wait()

    assert not quick.aborted.is_set()


async def test_later_ones_get_their_own_time_from_the_same_timer() -> None:
    deadlines, first, second = Deadlines(SOON), Connection(), Connection()
    deadlines.add(first)
    await asyncio.sleep(SOON / 2)
    deadlines.add(second)

    await first.aborted.wait()
    assert second in deadlines
    await second.aborted.wait()

    assert second not in deadlines


async def test_adding_again_does_not_prolong(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines, connection = Deadlines(10.0), Connection()
    loop = asyncio.get_running_loop()
    start = loop.time()
    deadlines.add(connection)

    monkeypatch.setattr(loop, "time", lambda: start + 9.0)
    deadlines.add(connection)
    monkeypatch.setattr(loop, "time", lambda: start + 11.0)
    deadlines._sweep()

    assert connection.aborted.is_set()


async def test_one_timer_for_all_and_none_when_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def counted(delay, callback, *args, context=None):  # type: ignore[no-untyped-def]
        timers.append(call_later(delay, callback, *args, context=context))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", counted)
    deadlines, many = Deadlines(10.0), [Connection() for _ in range(100)]
    for connection in many:
        deadlines.add(connection)
    for connection in many:
        deadlines.discard(connection)

    assert len(timers) == 1
    assert timers[0].cancelled()


async def test_discarding_a_stranger_is_fine() -> None:
    Deadlines(SOON).discard(Connection())
