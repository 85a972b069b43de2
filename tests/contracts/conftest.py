"""`stage`: a broker with short leases. `start`: one with other settings. Both once for every broker there is. `store`:
an empty one, once for every store there is."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from shared.store import Store
from shared.store.opening import open_sql
from tests.contracts.brokers import Broker, Manager, Memory, Mortal, RedisBroker, Stage, Start, settings
from tests.memory_store import MemoryStore
from tests.redis_server import RedisServer

BROKERS = ["memory", "manager", "redis"]
SESSIONS = ["s", "t", "u"]  # all that the tests use


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """One for all tests of a module that want no special settings; each leaves it empty."""
    manager = Manager(settings(), tmp_path_factory.mktemp("broker"))
    yield manager
    manager.end()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One for all tests of this process; each begins with an empty one."""
    server = RedisServer()
    yield server
    server.remove()


def broker_of(request: pytest.FixtureRequest, chosen: Settings, directory: Path) -> Broker:
    """That of the parameter, for a test alone."""
    if request.param == "redis":
        return RedisBroker(chosen, request.getfixturevalue("redis_server"))
    return Manager(chosen, directory) if request.param == "manager" else Memory(chosen)


@pytest.fixture(params=BROKERS)
async def stage(request: pytest.FixtureRequest, daemon: Manager, tmp_path: Path) -> AsyncIterator[Stage]:
    """A broker that has the usual settings, but for its short leases."""
    broker: Broker = daemon if request.param == "manager" else broker_of(request, settings(), tmp_path)
    stage = Stage(broker)
    yield stage
    await stage.clear(*SESSIONS)
    if broker is not daemon:
        await broker.stop()


@pytest.fixture(params=BROKERS)
async def start(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(settings(...))` is a stage with a broker of its own."""
    stages: list[Stage] = []

    async def start(chosen: Settings) -> Stage:
        stages.append(Stage(broker_of(request, chosen, tmp_path / "broker")))
        return stages[-1]

    yield start
    for stage in stages:
        await stage.clear(*SESSIONS)
        await stage.broker.stop()


@pytest.fixture(params=["manager", "redis"])
async def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Stage, Mortal | RedisBroker]]:
    """A stage whose broker can die and come again."""
    broker: Mortal | RedisBroker
    if request.param == "redis":
        broker = RedisBroker(settings(), request.getfixturevalue("redis_server"))
    else:
        broker = Mortal(settings(), tmp_path / "broker")
    stage = Stage(broker)
    yield stage, broker
    await stage.clear(*SESSIONS)
    await broker.stop()


STORES = ["memory", "sqlite", "postgresql"]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty one."""
    store: Store = MemoryStore()
    if request.param == "sqlite":
        store = await open_sql(f"sqlite+aiosqlite:///{tmp_path}/chat.db")
    elif request.param == "postgresql":
        store = await open_sql(await request.getfixturevalue("cluster").fresh())
    yield store
    await store.close()
