"""Workers that have fallen silent, by the scripts."""

from shared.brokers.state import Limits
from shared.messages import Submission
from tests.conftest import FakeClock
from tests.redis_server import RedisServer
from tests.shared.brokers.redis.state import ScriptedState


def test_a_poll_that_waits_for_longer_than_polls_do_gets_nothing_any_more(server: RedisServer) -> None:
    """A network that carries nothing to a worker, or nothing from it, leaves its poll waiting."""
    clock, limits = FakeClock(), Limits()
    state = ScriptedState(server.socket, clock, limits)
    try:
        number = state.poll("silent", 0, None, 1, False)
        clock.advance(limits.longest_poll + 0.25)
        state.open("s", "ann", None, None, 0, "")
        state.submit(Submission("s", "m1", 0, b"request"))
        assert state.polled("silent", number, final=False) is None
        polled = state.polled("lively", state.poll("lively", 0, None, 1, False), final=True)
        assert polled is not None
        assert [lease.attempt for lease in polled.leases] == [1]
    finally:
        state.close()
