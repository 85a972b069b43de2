"""The link against a server of this test's own: what it sends, what it repeats, when it gives up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from shared.brokers.manager import calls, link
from shared.brokers.manager.home import Home
from shared.brokers.manager.link import ManagerLink
from shared.brokers.manager.wire import Wire
from shared.errors import BrokerUnavailable, SessionNotFound


class ScriptedWire:
    """Keeps requests until the test answers them."""

    def __init__(self, name: str, on_lost: Callable[[Any], None]) -> None:
        self.name = name
        self.on_lost = on_lost
        self.open = True
        self.requests: list[tuple[str, tuple[Any, ...], Callable[[bytes], None]]] = []

    def request(self, method: str, args: tuple[Any, ...], answered: Callable[[bytes], None]) -> None:
        self.requests.append((method, args, answered))

    def close(self) -> None:
        self.open = False

    def lose(self) -> None:
        """The broker has gone."""
        self.open = False
        self.on_lost(self)

    def batch(self) -> list[str]:
        """The methods of the batch that is under way."""
        [(_, (data,), _)] = self.requests
        return [method for method, _ in calls.decode_calls(data)]

    def answer(self, *answers: tuple[bool, Any]) -> None:
        _, _, answered = self.requests.pop(0)
        answered(calls.encode(answers))


class Scripted:
    """All wires that were opened."""

    def __init__(self) -> None:
        self.wires: list[ScriptedWire] = []
        self.on_open: Callable[[str], None] = lambda name: None

    async def open_wire(self, home: Home, name: str, on_lost: Callable[[Wire], None]) -> Any:
        self.on_open(name)
        self.wires.append(ScriptedWire(name, on_lost))
        return self.wires[-1]

    @property
    def sender(self) -> ScriptedWire:
        return [wire for wire in self.wires if wire.name.endswith("/calls")][-1]

    @property
    def poller(self) -> ScriptedWire:
        return [wire for wire in self.wires if wire.name.endswith("/waits")][-1]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    scripted = Scripted()
    monkeypatch.setattr(link, "open_wire", scripted.open_wire)
    monkeypatch.setattr(link, "SHORT_LIVED", 0.0)
    return scripted


@pytest.fixture
async def linked(server: Scripted, tmp_path: Any) -> AsyncIterator[ManagerLink]:
    manager_link = ManagerLink(Home(tmp_path), "peer")
    await manager_link.connect()
    yield manager_link
    server.sender.request = lambda method, args, answered: answered(b"\x91\x92\xc3\xc0")  # type: ignore[method-assign]
    if server.sender.requests:
        server.sender.on_lost(server.sender)
        await asyncio.sleep(0)
    await manager_link.close("leave_gateway", "peer")


async def test_what_comes_while_a_batch_is_under_way_goes_together(linked: ManagerLink, server: Scripted) -> None:
    first = linked.call("newest", ["s"])
    await asyncio.sleep(0)
    second, third = linked.call("bury", "w"), linked.call("newest", ["t"])
    await asyncio.sleep(0)
    assert server.sender.batch() == ["newest"]
    server.sender.answer((True, [1]))
    assert await first == [1]
    assert server.sender.batch() == ["bury", "newest"]
    server.sender.answer((True, 0), (True, [2]))
    assert (await second, await third) == (0, [2])


async def test_an_error_reaches_its_caller_alone(linked: ManagerLink, server: Scripted) -> None:
    fails, works = linked.call("cancel", "s", "m"), linked.call("bury", "w")
    await asyncio.sleep(0)
    server.sender.answer((False, (SessionNotFound.code, "gone", 0)), (True, 0))
    with pytest.raises(SessionNotFound, match="gone"):
        await fails
    assert await works == 0


async def test_what_goes_wrong_with_one_answer_is_not_the_others_business(
    linked: ManagerLink, server: Scripted
) -> None:
    came: list[object] = []
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    def spoil(result: int) -> None:
        came.append(linked.call("bury", "behind"))
        raise ZeroDivisionError

    linked.call("bury", "v").then(spoil, came.append)
    linked.call("bury", "w").then(came.append, came.append)
    await asyncio.sleep(0)
    server.sender.answer((True, 0), (True, 1))
    assert came[1:] == [1]
    assert [type(context["exception"]) for context in complaints] == [ZeroDivisionError]
    assert server.sender.batch() == ["bury"]
    server.sender.answer((True, 2))


async def test_a_batch_without_an_answer_is_sent_again_over_the_next_link(
    linked: ManagerLink, server: Scripted
) -> None:
    first = linked.call("bury", "a")
    await asyncio.sleep(0)
    second = linked.call("bury", "b")
    old = server.sender
    old.on_lost(old)
    while server.sender is old or not server.sender.requests:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert server.sender.batch() == ["bury", "bury"]
    server.sender.answer((True, 1), (True, 2))
    assert (await first, await second) == (1, 2)


async def test_a_long_poll_begins_anew_over_the_next_link(linked: ManagerLink, server: Scripted) -> None:
    waiting = asyncio.create_task(linked.drain("peer"))
    await asyncio.sleep(0)
    [(_, first, _)] = server.poller.requests
    old = server.poller
    old.on_lost(old)
    while server.poller is old or not server.poller.requests:  # noqa: ASYNC110
        await asyncio.sleep(0)
    [(method, again, answered)] = server.poller.requests
    assert method == "drain"
    assert again[0] == first[0] == "peer"
    assert again[1] != first[1]  # a new link is a new number: what the old one lost is not to be trusted
    answered(calls.encode(("epoch", True, [], [])))
    assert (await waiting).lost is True


async def test_a_call_without_an_answer_is_given_up(
    linked: ManagerLink, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PATIENCE", 0.05)
    call = linked.call("bury", "w")
    with pytest.raises(BrokerUnavailable):
        await call
    late = linked.call("bury", "v")
    server.sender.answer((True, 7))  # of the first one, which nobody waits for any more
    server.sender.answer((True, 8))
    assert await late == 8


async def test_a_cancelled_call_does_no_harm(linked: ManagerLink, server: Scripted) -> None:
    call = linked.call("bury", "w")
    await asyncio.sleep(0)
    call.cancel()
    server.sender.answer((True, 7))
    later = linked.call("bury", "v")
    await asyncio.sleep(0)
    server.sender.answer((True, 8))
    assert await later == 8


async def test_a_broker_that_goes_between_two_wires_is_linked_to_again(server: Scripted, tmp_path: Any) -> None:
    lost: list[str] = []

    def lose_the_first_sender(name: str) -> None:
        if name == "peer/1/waits":
            lost.append(name)
            server.sender.lose()

    server.on_open = lose_the_first_sender
    manager_link = ManagerLink(Home(tmp_path), "peer")
    manager_link.start()
    call = manager_link.call("bury", "w")
    await _until(lambda: bool(lost and server.sender.name == "peer/2/calls" and server.sender.requests))
    server.sender.answer((True, 3))
    assert await call == 3
    server.poller.lose()
    await manager_link.close("leave_gateway", "peer")


async def test_a_broker_that_refuses_the_second_wire_is_tried_again(server: Scripted, tmp_path: Any) -> None:
    def refuse_once(name: str) -> None:
        if name == "peer/1/waits":
            server.sender.lose()
            raise ConnectionRefusedError

    server.on_open = refuse_once
    manager_link = ManagerLink(Home(tmp_path), "peer")
    manager_link.start()
    await _until(lambda: len(server.wires) >= 3)
    server.poller.lose()
    await manager_link.close("leave_gateway", "peer")


async def test_a_link_that_is_closing_does_not_come_back(linked: ManagerLink, server: Scripted) -> None:
    closing = asyncio.create_task(linked.close("leave_gateway", "peer"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.sender.lose()
    await closing
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_link_that_is_lost_between_two_goodbyes_ends_in_peace(server: Scripted, tmp_path: Any) -> None:
    manager_link = ManagerLink(Home(tmp_path), "peer")
    await manager_link.connect()
    closing = asyncio.create_task(manager_link.close("leave_gateway", "peer"))
    await _until(lambda: bool(server.sender.requests))
    server.sender.answer((True, None))
    await _until(lambda: bool(server.sender.requests))
    server.sender.lose()
    await closing


async def test_a_link_that_is_lost_at_once_does_not_end_who_waits_for_it(server: Scripted, tmp_path: Any) -> None:
    manager_link = ManagerLink(Home(tmp_path), "peer")
    waiting = asyncio.create_task(manager_link.drain("peer"))
    await asyncio.sleep(0)
    await manager_link.connect()
    server.poller.lose()
    await _until(lambda: server.poller.name == "peer/2/waits" and bool(server.poller.requests))
    [(_, _, answered)] = server.poller.requests
    answered(calls.encode(("epoch", True, [], [])))
    assert (await waiting).lost is True
    server.poller.lose()
    await manager_link.close("leave_gateway", "peer")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
