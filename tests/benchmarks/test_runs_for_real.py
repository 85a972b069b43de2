"""One small run of every server that this machine can have."""

import shutil

import pytest

from benchmarks.direct import measure
from benchmarks.measuring import Ready, run
from benchmarks.peers import PEERS
from benchmarks.places import Unavailable
from benchmarks.scenarios import scenarios
from tests.conftest import require


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_answers_every_message(name: str) -> None:
    require(shutil.which("go"), "needs Go: apt-get install golang-go")
    try:
        ready = Ready(PEERS[name], PEERS[name].prepare())
    except Unavailable as error:
        pytest.skip(str(error))
    record = run(ready, scenarios(1.0, 0.02)["idle"])
    assert record["faults"] == {}
    assert record["chunks"] == 500
    assert record["us"] > 0
    assert record["chatted"]["each"]
    assert record["accept_us"] > 0


async def test_an_engine_alone_takes_four_intervals_for_five_chunks() -> None:
    assert 38 < await measure(0.01, 0.05, 2) < 2000
