"""`stage`: a broker with short leases. `start`: one with other settings. Both once for every broker there is. `store`:
an empty one, once for every store there is."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from shared.store import Store
from shared.store.opening import open_sql
from tests.contracts.brokers import Broker, Manager, Memory, Mortal, Stage, Start, settings
from tests.memory_store import MemoryStore

BROKERS = ["memory", "manager"]
SESSIONS = ["s", "t", "u"]  # all that the tests use


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """One for all tests of a module that want no special settings; each leaves it empty."""
    manager = Manager(settings(), tmp_path_factory.mktemp("broker"))
    yield manager
    manager.end()


@pytest.fixture(params=BROKERS)
async def stage(request: pytest.FixtureRequest, daemon: Manager) -> AsyncIterator[Stage]:
    """A broker that has the usual settings, but for its short leases."""
    broker: Broker = daemon if request.param == "manager" else Memory(settings())
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
        manager = request.param == "manager"
        stages.append(Stage(Manager(chosen, tmp_path / "broker") if manager else Memory(chosen)))
        return stages[-1]

    yield start
    for stage in stages:
        await stage.clear(*SESSIONS)
        await stage.broker.stop()


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[tuple[Stage, Mortal]]:
    """A stage whose broker can die and come again."""
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
