"""Each scenario, small: it shows its figures, and they hold."""

import re

import pytest

from tests.chaos.hosts import why_not
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.test_command import chaos
from tests.conftest import require

pytestmark = pytest.mark.timeout(180)
SMALL = {
    "broker_pause": 40,
    "cancel": 50,
    "cancel_race": 100,
    "failover_gap": 2,
    "gateway_kill": 50,
    "idempotent_submit": 20,
    "leaks": 400,
    "reconnect": 10,
    "several_hosts": 1,
    "slow_readers": 10,
    "triple_kill": 30,
    "worker_kills": 800,
    "zombies": 50,
}
QUICK = {"cancel_race"}


def test_there_is_a_small_size_for_each() -> None:
    assert SMALL.keys() == SCENARIOS.keys()
    assert all(0 < size < SCENARIOS[name].size for name, size in SMALL.items())


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
)
def test_its_figures_hold(name: str) -> None:
    if SCENARIOS[name].hosts:
        require(not (why := why_not()), why)
    ended = chaos("--scenario", name, "--size", str(SMALL[name]))
    assert ended.status == 0, ended.out + ended.error
    assert ended.out.splitlines()[-1] == "PASSED"
    assert re.search(r"^  holds ", ended.out, re.MULTILINE)
