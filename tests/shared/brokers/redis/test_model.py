"""G1 to G11 on the scripts, against the very model that judges the state machine."""

from collections.abc import Iterator

import pytest

from shared.brokers.state import Limits
from tests.conftest import FakeClock
from tests.redis_server import RedisServer
from tests.shared.brokers.redis.state import ScriptedState
from tests.shared.brokers.state.test_model import BrokerMachine, check


@pytest.fixture
def machine() -> Iterator[type[BrokerMachine]]:
    """One server for all plays; each begins with an empty one."""
    server = RedisServer()
    states: list[ScriptedState] = []

    def make(clock: FakeClock, limits: Limits) -> ScriptedState:
        for state in states:
            state.close()
        states[:] = [ScriptedState(server.socket, clock, limits)]
        return states[0]

    class ScriptedMachine(BrokerMachine):
        make_state = staticmethod(make)  # type: ignore[assignment]

        def nothing_is_left(self) -> None:
            """G11, by the keys."""
            play = self.play
            for at, worker in enumerate(play.workers):
                self.end_of_a_worker(at, blame=False)
                worker.waits = None
            for at in range(len(play.readers)):
                self.end_of_a_gateway(at)
            self.pass_steps(43.0, [], [])
            left = [key for key in states[0].keys if key not in ("{llm-chat}:meta", "{llm-chat}:dead")]
            assert left == []
            assert play.state.stats().kept_bytes == 0

    yield ScriptedMachine
    for state in states:
        state.close()
    server.remove()


@pytest.mark.timeout(60)
def test_the_scripts_keep_the_contract(machine: type[BrokerMachine]) -> None:
    """Few plays: each step is some twenty round trips."""
    check(machine, 6, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_scripts_keep_the_contract_for_long(machine: type[BrokerMachine]) -> None:
    check(machine, 300, 60)
