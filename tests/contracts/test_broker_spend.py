"""G12 on every broker: a token is spent by one spender only."""

import asyncio

from tests.contracts.brokers import Mortal, Stage


async def test_g12_one_spender_and_no_other_whichever_gateway_asks(stage: Stage) -> None:
    fronts = [await stage.front(f"gateway-{number}") for number in range(3)]
    epoch = (await fronts[0].side.stats()).epoch
    for token in ("one", "other"):
        asked = [front.side.spend(token, f"{n} {token}", epoch, 30.0) for n, front in enumerate(fronts * 5)]
        assert sorted(await asyncio.gather(*asked)) == [False] * 14 + [True]


async def test_g12_a_call_that_is_repeated_has_the_same_answer(stage: Stage) -> None:
    one, other = await stage.front("gateway-1"), await stage.front("gateway-2")
    epoch = (await one.side.stats()).epoch
    assert await one.side.spend("again", "ann", epoch, 30.0) is True
    assert await other.side.spend("again", "bob", epoch, 30.0) is False
    assert await one.side.spend("again", "ann", epoch, 30.0) is True
    assert await other.side.spend("again", "bob", epoch, 30.0) is False


async def test_g12_a_token_of_another_epoch_is_not_good(stage: Stage) -> None:
    front = await stage.front()
    assert await front.side.spend("strange", "ann", "0" * 16, 30.0) is False
    assert await front.side.spend("strange", "ann", (await front.side.stats()).epoch, 30.0) is True


async def test_g12_it_is_remembered_for_its_time_and_no_longer(stage: Stage) -> None:
    front = await stage.front()
    epoch = (await front.side.stats()).epoch
    assert await front.side.spend("brief", "ann", epoch, 0.3)
    assert not await front.side.spend("brief", "bob", epoch, 0.3)
    await asyncio.sleep(0.35)
    assert await front.side.spend("brief", "bob", epoch, 0.3)


async def test_g12_a_memory_that_is_lost_opens_no_second_door(mortal: tuple[Stage, Mortal]) -> None:
    stage, broker = mortal
    front = await stage.front()
    epoch = (await front.side.stats()).epoch
    assert await front.side.spend("once", "ann", epoch, 30.0)
    broker.die()
    assert await front.side.spend("once", "bob", epoch, 30.0) is False
