import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.auth.credentials import NONE, Credentials
from gateway.auth.gate import Checks, GuardedGate
from gateway.auth.keys import KeyRing, make_key
from gateway.auth.tickets import Tickets
from gateway.caller import Caller
from shared.brokers.memory import MemoryBroker
from shared.brokers.state import BrokerState, Limits
from shared.errors import BrokerUnavailable, NotAuthenticated, QueueFull
from tests.conftest import FakeClock
from tests.gateway.chatting import HeldBroker

RECORD, KEY = make_key("ann", 0.0)
SECRET = b"secret"


class Gates:
    """Two gateway processes with one broker, one file of keys and one secret."""

    def __init__(self, clock: FakeClock, **limits: int) -> None:
        self.clock = clock
        self.memory = MemoryBroker(clock, Limits(**limits))
        self.ring = KeyRing([RECORD])
        self.brokers = [HeldBroker(self.memory.gateway(name)) for name in ("one", "other")]
        self.one, self.other = (
            GuardedGate(Checks(lambda: self.ring, None, Tickets(SECRET)), broker, clock) for broker in self.brokers
        )


@pytest.fixture
async def gates(clock: FakeClock) -> AsyncIterator[Gates]:
    gates = Gates(clock, spent_tokens=3)
    yield gates
    gates.memory.close()


async def refused(gate: GuardedGate, credentials: Credentials) -> None:
    with pytest.raises(NotAuthenticated):
        await gate.admit(credentials)


async def by_key(gate: GuardedGate) -> Caller:
    return await gate.admit(Credentials(bearer=KEY))


async def ticket(gate: GuardedGate) -> Credentials:
    return Credentials(ticket=await gate.ticket(await by_key(gate)))


async def test_by_a_key(gates: Gates) -> None:
    assert await by_key(gates.one) == Caller("ann", None, RECORD.id)
    for bearer in ("", "x", KEY[:-1], KEY + "x", "e30.e30.e30"):
        await refused(gates.one, Credentials(bearer=bearer))
    await refused(gates.one, NONE)


async def test_a_key_is_no_ticket_and_a_ticket_no_key(gates: Gates) -> None:
    await refused(gates.one, Credentials(ticket=KEY))
    made = await ticket(gates.one)
    await refused(gates.one, Credentials(bearer=made.ticket))
    assert (await gates.one.admit(made)).owner == "ann"


async def test_a_ticket_is_good_once_on_whichever_gateway(gates: Gates) -> None:
    made = await ticket(gates.one)
    assert await gates.other.admit(made) == Caller("ann", None, RECORD.id)
    for gate in (gates.one, gates.other):
        await refused(gate, made)


async def test_of_many_who_come_at_the_same_time_one_is_let_in(gates: Gates) -> None:
    made = await ticket(gates.one)
    for broker in gates.brokers:
        broker.hold("spend")
    attempts = [asyncio.ensure_future(gate.admit(made)) for gate in (gates.one, gates.other) * 5]
    await asyncio.sleep(0)
    for broker in gates.brokers:
        broker.release()
    found = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["Caller"] + ["NotAuthenticated"] * 9


async def test_a_ticket_that_is_too_old_is_not_even_asked_about(gates: Gates) -> None:
    made = await ticket(gates.one)
    gates.clock.advance(30)
    await refused(gates.one, made)
    assert "spend" not in gates.brokers[0].calls


async def test_a_used_ticket_stays_used_on_machines_whose_clocks_are_late(gates: Gates) -> None:
    made = await ticket(gates.one)
    assert await gates.one.admit(made)
    gates.clock.advance(45)
    gates.clock.set_wall(gates.clock.wall_ms() - 45_000)
    await refused(gates.other, made)


async def test_a_ticket_ends_with_its_key(gates: Gates) -> None:
    made = await ticket(gates.one)
    gates.ring = KeyRing()
    await refused(gates.one, made)


async def test_a_broker_without_its_memory_takes_no_ticket_of_before(gates: Gates) -> None:
    used, unused = await ticket(gates.one), await ticket(gates.one)
    assert await gates.one.admit(used)
    gates.memory.state = BrokerState(gates.clock, Limits())
    for made in (used, unused):
        await refused(gates.other, made)
    assert await gates.other.admit(await ticket(gates.one))


async def test_a_broker_that_is_away_is_no_ticket_used_up(gates: Gates) -> None:
    made = await ticket(gates.one)
    gates.brokers[0].fail("spend", "stats")
    with pytest.raises(BrokerUnavailable) as caught:
        await gates.one.admit(made)
    assert caught.value.retryable
    with pytest.raises(BrokerUnavailable):
        await gates.one.ticket(Caller("ann"))
    assert (await by_key(gates.one)).owner == "ann"
    gates.brokers[0].heal()
    assert (await gates.one.admit(made)).owner == "ann"


async def test_so_is_one_that_remembers_too_many(gates: Gates) -> None:
    for _ in range(3):
        await gates.one.admit(await ticket(gates.one))
    with pytest.raises(QueueFull):
        await gates.one.admit(await ticket(gates.one))
