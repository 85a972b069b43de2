"""The embedded broker as a process: who starts it, when it ends."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.brokers import open_gateway_broker, open_worker_broker
from shared.brokers.manager.home import Home
from shared.settings import BrokerSettings, Settings
from tests.processes.service import Process, Service, until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, {})
    yield service
    service.end()


def settings(service: Service) -> Settings:
    return Settings(broker=BrokerSettings(url=f"manager://{service.broker}"))


async def test_the_first_gateway_starts_it_and_the_last_goodbye_ends_it(service: Service) -> None:
    first = await open_gateway_broker(settings(service), "g1")
    process = service.broker_process()
    assert process is not None
    second = await open_gateway_broker(settings(service), "g2")
    worker = await open_worker_broker(settings(service), "w")
    assert (await worker.stats()).epoch == (await first.stats()).epoch
    await first.close()
    await worker.close()
    await asyncio.sleep(0.2)
    assert process.is_running()
    await second.close()
    _reap()
    assert not list(service.broker.glob("*.sock"))


async def test_started_by_hand_it_stays_until_it_is_told_to_go(service: Service) -> None:
    broker = Process("shared.brokers.manager", service.environment, service.directory / "log")
    service.processes.append(broker)
    home = Home(service.broker)
    until(home.socket_path.exists, what="the socket")
    gateway = await open_gateway_broker(settings(service), "g")
    await gateway.close()
    await asyncio.sleep(0.2)
    second = Process("shared.brokers.manager", service.environment, service.directory / "second")
    assert second.wait(10) == 1
    assert second.text().count("\n") == 1
    assert "already running" in second.text()
    assert broker.stop() == 0
    assert not home.socket_path.exists()


async def test_after_kill_9_the_next_one_takes_the_same_place(service: Service) -> None:
    gateway = await open_gateway_broker(settings(service), "g")
    epoch = (await gateway.stats()).epoch
    process = service.broker_process()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    assert (await gateway.stats()).epoch != epoch
    await gateway.close()
    _reap()


async def test_a_long_directory_works_too(tmp_path: Path) -> None:
    service = Service(tmp_path / ("d" * 120), {})
    service.directory.mkdir()
    try:
        gateway = await open_gateway_broker(settings(service), "g")
        assert (await gateway.stats()).gateways == 0
        await gateway.close()
        _reap()
    finally:
        service.end()
    assert not Home(service.broker).socket_path.parent.exists()


async def test_another_key_is_one_sentence(service: Service) -> None:
    gateway = await open_gateway_broker(settings(service), "g")
    key = Home(service.broker).key_path
    right = key.read_bytes()
    key.write_bytes(b"wrong")
    with pytest.raises(ValueError, match="another key"):
        await open_gateway_broker(settings(service), "h")
    key.write_bytes(right)
    await gateway.close()
    _reap()


def _reap() -> None:
    """The broker is a child of this process, which lets it live; as a child of pytest it has to be seen off."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
