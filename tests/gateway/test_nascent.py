import asyncio

import pytest

from gateway.nascent import Nascent

SOON = 0.02  # seconds; nothing here depends on how exactly it is kept


class Connection:
    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


async def test_who_says_nothing_is_dropped() -> None:
    nascent, connection = Nascent(SOON), Connection()
    nascent.add(connection)

    await connection.aborted.wait()

    assert connection not in nascent


async def test_who_is_done_in_time_is_left_alone() -> None:
    nascent, quick, slow = Nascent(SOON), Connection(), Connection()
    nascent.add(quick)
    nascent.add(slow)
    nascent.discard(quick)

    await slow.aborted.wait()

    assert not quick.aborted.is_set()


async def test_later_ones_get_their_own_time_from_the_same_timer() -> None:
    nascent, first, second = Nascent(SOON), Connection(), Connection()
    nascent.add(first)
    await asyncio.sleep(SOON / 2)
    nascent.add(second)

    await first.aborted.wait()
    assert second in nascent
    await second.aborted.wait()

    assert second not in nascent


async def test_adding_again_does_not_prolong(monkeypatch: pytest.MonkeyPatch) -> None:
    nascent, connection = Nascent(10.0), Connection()
    loop = asyncio.get_running_loop()
    start = loop.time()
    nascent.add(connection)

    monkeypatch.setattr(loop, "time", lambda: start + 9.0)
    nascent.add(connection)
    monkeypatch.setattr(loop, "time", lambda: start + 11.0)
    nascent._sweep()

    assert connection.aborted.is_set()


async def test_one_timer_for_all_and_none_when_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def counted(delay, callback, *args, context=None):  # type: ignore[no-untyped-def]
        timers.append(call_later(delay, callback, *args, context=context))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", counted)
    nascent, many = Nascent(10.0), [Connection() for _ in range(100)]
    for connection in many:
        nascent.add(connection)
    for connection in many:
        nascent.discard(connection)

    assert len(timers) == 1
    assert timers[0].cancelled()


async def test_discarding_a_stranger_is_fine() -> None:
    Nascent(SOON).discard(Connection())
