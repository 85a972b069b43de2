from collections.abc import AsyncIterator
from typing import cast

import pytest

from gateway.supervisor import CALM, Supervisor
from shared.children import Child
from shared.settings import Settings
from tests.conftest import FakeClock


class Dead:
    """A child that has ended."""

    pid = 17
    ending = "killed by SIGKILL"

    def __init__(self, status: int) -> None:
        self.status = status


@pytest.fixture
async def supervisor(clock: FakeClock) -> AsyncIterator[Supervisor]:
    """Without children."""
    found = Supervisor(Settings(), [], clock)
    yield found
    await found._children.stop(0)


def die(supervisor: Supervisor, status: int = -9) -> bool:
    """Whether the next one is to be started without delay."""
    child = cast(Child, Dead(status))
    supervisor._on_exit(child)
    return supervisor._was_fruitful(child)


async def test_deaths_in_a_row_are_a_habit_and_one_now_and_then_is_none(
    supervisor: Supervisor, clock: FakeClock
) -> None:
    assert die(supervisor)
    clock.advance(CALM - 1)
    assert not die(supervisor)
    clock.advance(CALM + 1)
    assert die(supervisor)


@pytest.mark.parametrize(("status", "stops"), [(2, True), (1, False), (-11, False), (0, False)])
async def test_only_a_wrong_setting_ends_them_all(supervisor: Supervisor, status: int, stops: bool) -> None:
    die(supervisor, status)

    assert supervisor._stopped.is_set() is stops
    assert supervisor._status == (2 if stops else 0)
