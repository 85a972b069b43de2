"""An answer is a future, or calls back at once, and is given once."""

import asyncio

import pytest

from shared.answer import Answer, then
from shared.errors import BrokerUnavailable, ChatError


@pytest.fixture
async def answer() -> Answer[int]:
    return Answer(0.0, asyncio.get_running_loop())


def nothing(_: object) -> None:
    raise AssertionError("not this one")


async def test_who_takes_it_is_called_in_the_very_step(answer: Answer[int]) -> None:
    came: list[int] = []
    then(answer, came.append, nothing)
    answer.bring(7)
    assert came == [7]


async def test_who_takes_it_is_told_of_an_error_in_the_very_step(answer: Answer[int]) -> None:
    came: list[ChatError] = []
    error = BrokerUnavailable()
    then(answer, nothing, came.append)
    answer.bring_error(error)
    assert came == [error]


async def test_an_error_that_is_none_of_ours_is_not_swallowed(answer: Answer[int]) -> None:
    then(answer, nothing, nothing)
    with pytest.raises(ZeroDivisionError):
        answer.bring_error(ZeroDivisionError())


async def test_what_comes_after_the_first_is_dropped(answer: Answer[int]) -> None:
    came: list[object] = []
    then(answer, came.append, came.append)
    answer.bring(7)
    answer.bring(8)
    answer.bring_error(BrokerUnavailable())
    assert (came, answer.settled) == ([7], True)


async def test_who_is_called_back_may_await_it_too(answer: Answer[int]) -> None:
    came: list[int] = []
    then(answer, came.append, nothing)
    asyncio.get_running_loop().call_soon(answer.bring, 7)
    assert (await answer, came) == (7, [7])


async def test_who_awaits_it_has_a_future(answer: Answer[int]) -> None:
    asyncio.get_running_loop().call_soon(answer.bring, 7)
    assert await answer == 7


async def test_who_awaits_it_is_raised_the_error(answer: Answer[int]) -> None:
    asyncio.get_running_loop().call_soon(answer.bring_error, BrokerUnavailable())
    with pytest.raises(BrokerUnavailable):
        await answer


async def test_who_has_given_up_is_not_told(answer: Answer[int]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer, 0)
    answer.bring(7)
    assert answer.cancelled()


async def test_an_error_that_nobody_looks_at_is_not_complained_of(answer: Answer[int]) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    answer.bring_error(BrokerUnavailable())
    del answer
    await asyncio.sleep(0)
    assert complaints == []
