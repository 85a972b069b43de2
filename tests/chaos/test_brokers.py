"""A short run of the whole command with each broker that is not the default one."""

import pytest

from tests.chaos.test_command import SHORT, chaos
from tests.conftest import require
from tests.redis_server import NEEDED, program

pytestmark = pytest.mark.timeout(120)


@pytest.mark.slow
def test_a_short_run_passes_on_redis() -> None:
    require(program(), NEEDED)
    ended = chaos(*SHORT, "--broker", "redis")
    assert ended.status == 0, ended.out + ended.error
    assert "broker redis" in ended.out
    assert ended.out.splitlines()[-1] == "PASSED"
