import asyncio
import os
import signal
from typing import Any, cast

import pytest

from gateway import process
from gateway.sockets import listen
from shared.broker import GatewayBroker, NoBroker
from shared.messages import Batch
from shared.settings import Settings


class FakeBroker:
    """Has nothing to deliver; `failure` is what its drain dies of."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.closed = False
        self.drained = asyncio.Event()

    async def drain(self) -> Batch:
        self.drained.set()
        if self.failure is not None:
            raise self.failure
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def gc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "settle", lambda: None)


def opens(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have `broker` opened; returns the names under which it was."""
    names: list[str] = []

    async def open_broker(settings: Settings, name: str, *, patient: bool) -> GatewayBroker:
        names.append(name)
        return cast(GatewayBroker, broker)

    monkeypatch.setattr(process, "open_gateway_broker", open_broker)
    return names


async def serve(**settings: Any) -> int:
    return await process._serve(Settings(**settings), listen("127.0.0.1", 0), has_parent=False)


async def test_a_signal_ends_it_with_status_0_and_closes_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeBroker()
    opens(broker, monkeypatch)
    serving = asyncio.create_task(serve())
    await broker.drained.wait()

    os.kill(os.getpid(), signal.SIGTERM)

    assert await serving == 0
    assert broker.closed


async def test_a_hub_that_dies_ends_it_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = FakeBroker(RuntimeError("lost its way"))
    opens(broker, monkeypatch)

    assert await serve() == 1
    assert broker.closed
    assert "lost its way" in capsys.readouterr().out


async def test_a_broker_that_cannot_be_used_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refuse(settings: Settings, name: str, *, patient: bool) -> GatewayBroker:
        raise ValueError("the broker there has another key")

    monkeypatch.setattr(process, "open_gateway_broker", refuse)
    sockets = listen("127.0.0.1", 0)

    assert await process._serve(Settings(), sockets, has_parent=False) == 2
    assert capsys.readouterr().err == "gateway: the broker there has another key\n"
    sockets[0].close()


@pytest.mark.parametrize(("has_parent", "status"), [(False, 1), (True, 2)])
async def test_a_broker_that_does_not_serve_may_do_so_later_but_not_for_a_child(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_parent: bool, status: int
) -> None:
    """A child waits for what may still come, so what it is told is for good."""
    patience: list[bool] = []

    async def refuse(settings: Settings, name: str, *, patient: bool) -> GatewayBroker:
        patience.append(patient)
        raise NoBroker("start it")

    monkeypatch.setattr(process, "open_gateway_broker", refuse)
    sockets = listen("127.0.0.1", 0)
    assert await process._serve(Settings(), sockets, has_parent=has_parent) == status
    assert patience == [has_parent]
    assert capsys.readouterr().err == "gateway: start it\n"
    sockets[0].close()


async def test_a_signal_while_the_broker_is_opened_is_a_stop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = asyncio.Event()

    async def endless(settings: Settings, name: str, *, patient: bool) -> GatewayBroker:
        opening.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr(process, "open_gateway_broker", endless)
    sockets = listen("127.0.0.1", 0)
    serving = asyncio.create_task(process._serve(Settings(), sockets, has_parent=False))
    await opening.wait()

    os.kill(os.getpid(), signal.SIGINT)

    assert await serving == 0
    sockets[0].close()


async def test_every_process_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeBroker(RuntimeError("enough"))
    names = opens(broker, monkeypatch)
    await serve()
    await serve()

    assert len(set(names)) == 2
    assert all(f"-{os.getpid()}-" in name for name in names)
