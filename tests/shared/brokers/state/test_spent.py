import pytest

from shared.brokers.state import BrokerState, Limits
from shared.brokers.state.spent import Spent
from shared.errors import QueueFull
from tests.conftest import FakeClock


def test_a_token_is_forgotten_when_its_time_is_over() -> None:
    spent = Spent(10)
    spent.add("long", "ann", 20.0)
    spent.add("short", "bob", 5.0)
    spent.expire(4.9)
    assert (spent.spender("long"), spent.spender("short"), len(spent)) == ("ann", "bob", 2)
    spent.expire(5.0)
    assert (spent.spender("long"), spent.spender("short"), len(spent)) == ("ann", None, 1)


def test_when_too_many_are_remembered_none_is_spent_and_none_is_forgotten(clock: FakeClock) -> None:
    state = BrokerState(clock, Limits(spent_tokens=2))
    assert state.spend("a", "ann", state.epoch, 10)
    assert state.spend("b", "ann", state.epoch, 20)
    with pytest.raises(QueueFull):
        state.spend("c", "ann", state.epoch, 10)
    assert not state.spend("a", "bob", state.epoch, 10)
    assert state.spend("a", "ann", state.epoch, 10)

    clock.advance(10)
    assert state.spend("c", "ann", state.epoch, 10)
    assert not state.spend("b", "bob", state.epoch, 10)


def test_nothing_is_left_when_time_has_passed(clock: FakeClock) -> None:
    state = BrokerState(clock, Limits())
    for number in range(100):
        state.spend(str(number), "ann", state.epoch, 30)
    clock.advance(29)
    state.tick()
    assert len(state._spent) == 100
    clock.advance(1)
    state.tick()
    assert len(state._spent) == 0
    assert state._spent._ends == []


def test_a_repeat_does_not_lengthen_it(clock: FakeClock) -> None:
    state = BrokerState(clock, Limits())
    state.spend("a", "ann", state.epoch, 10)
    clock.advance(9)
    assert state.spend("a", "ann", state.epoch, 10)
    clock.advance(1)
    assert state.spend("a", "bob", state.epoch, 10)
