"""Pacing: exact on average, never early, all with one timer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FakeClock
from worker.engines.wheel import GRAIN, LEAST_GRAIN, Wheel


class Steps:
    """Notes when it is called; has so many steps to do."""

    def __init__(self, clock: FakeClock, count: int) -> None:
        self.clock = clock
        self.left = count
        self.at: list[float] = []

    def __call__(self) -> bool:
        self.at.append(self.clock.now())
        self.left -= 1
        return self.left > 0


def pass_time(wheel: Wheel, clock: FakeClock, seconds: float, every: float = 0.001) -> None:
    """Turn the wheel as its timer would."""
    for _ in range(round(seconds / every)):
        clock.advance(every)
        wheel.turn()


async def test_steps_are_an_interval_apart_and_never_early(clock: FakeClock) -> None:
    wheel, steps = Wheel(0.2, clock), Steps(clock, 4)
    wheel.add(steps)
    pass_time(wheel, clock, 1.5)
    late = [at - 1000 - 0.2 * number for number, at in enumerate(steps.at, 1)]
    assert len(late) == 4
    assert all(-1e-6 <= lateness <= GRAIN + 0.001 + 1e-6 for lateness in late)


@given(st.floats(0.001, 3), st.lists(st.floats(0, 0.1), max_size=20))
async def test_there_is_no_drift(interval: float, delays: list[float]) -> None:
    """However late the loop is, now and then, in the long run each step is due an interval after the last one."""
    clock = FakeClock()
    wheel, steps = Wheel(interval, clock), Steps(clock, 1_000_000)
    wheel.add(steps)
    for delay in delays:
        pass_time(wheel, clock, delay, max(delay, 0.001))
    pass_time(wheel, clock, interval * 10, interval)
    wheel.stop()
    assert abs(len(steps.at) - (clock.now() - 1000) / interval) <= 1 + (GRAIN + 0.002) / interval


async def test_a_loop_that_was_held_up_makes_good_for_it(clock: FakeClock) -> None:
    wheel, steps = Wheel(0.1, clock), Steps(clock, 5)
    wheel.add(steps)
    clock.advance(0.35)
    wheel.turn()
    assert len(steps.at) == 3
    wheel.stop()


async def test_those_that_are_near_go_together(clock: FakeClock) -> None:
    wheel = Wheel(0.1, clock)
    both = [Steps(clock, 9), Steps(clock, 9)]
    for steps in both:
        clock.advance(0.0001)
        wheel.add(steps)
    pass_time(wheel, clock, 0.5)
    assert both[0].at == both[1].at != []
    wheel.stop()


async def test_the_timer_rests_while_nothing_is_due(clock: FakeClock) -> None:
    wheel = Wheel(0.1, clock)
    assert wheel.timer is None
    wheel.add(Steps(clock, 1))
    assert wheel.timer is not None
    pass_time(wheel, clock, 0.2)
    assert wheel.timer is None


async def test_a_stopped_wheel_calls_nobody(clock: FakeClock) -> None:
    wheel, steps = Wheel(0.1, clock), Steps(clock, 9)
    wheel.add(steps)
    wheel.stop()
    pass_time(wheel, clock, 0.5)
    assert steps.at == []
    assert wheel.timer is None


@pytest.mark.parametrize("interval", [0.0001, 0.001, 0.0033, 0.05, 0.2, 60.0])
async def test_grains_divide_the_interval_and_stay_within_what_timers_can_tell(interval: float) -> None:
    wheel = Wheel(interval, FakeClock())
    assert (interval / wheel.grain) == pytest.approx(round(interval / wheel.grain))
    assert min(interval, LEAST_GRAIN) - 1e-9 <= wheel.grain <= GRAIN + 1e-9
