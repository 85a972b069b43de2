"""S1 to S6 of shared/store/base.py, on every store."""

import asyncio
import contextlib

import pytest

from shared.errors import SessionNotFound
from shared.messages import Failed
from shared.request import Params
from shared.store import Answer, Exchange, Store
from tests.contracts.stores import START, answer, done, exchange, question, session

# --- S1: idempotent -------------------------------------------------------------------------------------------------


async def test_a_session_comes_back_as_it_was_stored(store: Store) -> None:
    stored = session(title="A chat", system="Be brief.", model="m", meta={"a": [1, {"b": None}]})

    await store.open(stored)

    assert await store.session("s") == stored


async def test_a_session_that_is_known_stays_as_it_is(store: Store) -> None:
    await store.open(session(title="first"))
    await store.open(session(owner="another", title="second"))

    assert (await store.session("s")).title == "first"
    assert (await store.session("s")).owner == "me"


async def test_a_session_without_a_title_gets_one_but_nothing_else(store: Store) -> None:
    await store.open(session())
    await store.open(session(owner="another", system="Be rude.", title="first words"))
    await store.open(session(title="later words"))

    assert await store.session("s") == session(title="first words")


async def test_a_turn_comes_back_as_it_was_stored(store: Store) -> None:
    await store.open(session())
    asked = question(model="big", params=Params(temperature=0.5, stop=("a", "b"), seed=2**62), meta={"parent": "m0"})
    answered = answer(text="Hi \N{SMILING FACE WITH SUNGLASSES}\n'there'")

    assert await store.ask(asked) is None
    open_turn = await store.turn("s", "m1")
    await store.answer(answered)
    turn = await store.turn("s", "m1")

    assert open_turn is not None
    assert (open_turn.question, open_turn.answer, open_turn.status) == (asked, None, "open")
    assert turn is not None
    assert (turn.question, turn.answer, turn.status) == (asked, answered, "done")


@pytest.mark.parametrize(
    "end", [done("part", "cancelled"), done("part", "length"), Failed("worker_lost", "Gone.", True)]
)
async def test_every_end_comes_back(store: Store, end: object) -> None:
    await store.open(session())
    await store.ask(question())
    await store.answer(answer(text="part", end=end))  # type: ignore[arg-type]

    turn = await store.turn("s", "m1")

    assert turn is not None
    assert turn.answer == answer(text="part", end=end)  # type: ignore[arg-type]


async def test_an_id_that_is_known_stays_as_it_is(store: Store) -> None:
    await store.open(session())
    await store.ask(question(content="first"))

    assert await store.ask(question(content="second")) is None
    assert [turn.question.content for turn in await store.turns("s")] == ["first"]


async def test_an_id_that_has_ended_says_how(store: Store) -> None:
    await exchange_of_a_new_session(store)

    again, new = await asyncio.gather(store.ask(question()), store.ask(question("m2")))

    assert again == answer()
    assert new is None


async def exchange_of_a_new_session(store: Store) -> None:
    await store.open(session())
    await store.ask(question())
    await store.answer(answer())


async def test_an_answer_may_be_repeated(store: Store) -> None:
    await exchange_of_a_new_session(store)

    await store.answer(answer())

    assert [turn.answer for turn in await store.turns("s")] == [answer()]


async def test_the_same_id_in_two_sessions_is_two_messages(store: Store) -> None:
    await asyncio.gather(store.open(session("s")), store.open(session("t")))
    await asyncio.gather(store.ask(question(content="one")), store.ask(question(of="t", content="two")))
    await store.answer(answer(of="t"))

    assert [(turn.question.content, turn.status) for turn in await store.turns("s")] == [("one", "open")]
    assert [(turn.question.content, turn.status) for turn in await store.turns("t")] == [("two", "done")]


async def test_a_message_of_an_unknown_session_is_not_kept(store: Store) -> None:
    await store.open(session())

    unknown, known = await asyncio.gather(
        store.ask(question(of="nowhere")), store.ask(question()), return_exceptions=True
    )

    assert unknown is None or isinstance(unknown, SessionNotFound)
    assert known is None
    assert await store.turns("nowhere") == []
    assert len(await store.turns("s")) == 1


async def test_a_fresh_message_is_stored_as_any_other(store: Store) -> None:
    await store.open(session())

    assert await store.ask(question(), fresh=True) is None
    assert [turn.question for turn in await store.turns("s")] == [question()]


async def test_a_refused_message_is_taken_back(store: Store) -> None:
    await store.open(session())
    await store.ask(question())

    await store.withdraw("s", "m1")
    await store.withdraw("s", "m1")

    assert await store.turns("s") == []


async def test_what_has_ended_is_not_taken_back(store: Store) -> None:
    await exchange_of_a_new_session(store)

    await store.withdraw("s", "m1")

    assert len(await store.turns("s")) == 1


async def test_a_message_that_was_taken_back_may_come_again(store: Store) -> None:
    await store.open(session())

    await asyncio.gather(store.ask(question()), store.withdraw("s", "m1"), store.ask(question(content="again")))

    assert [turn.question.content for turn in await store.turns("s")] == ["again"]


# --- S2: the newest wins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "stands"),
    [
        ((7, 2), (7, 1), (7, 2)),  # a worker that was thought dead
        ((7, 1), (7, 2), (7, 2)),
        ((7, 1), (8, 1), (8, 1)),  # the same id again, for a broker without its memory
        ((8, 1), (7, 9), (8, 1)),
    ],
)
async def test_the_newest_attempt_stands(
    store: Store, first: tuple[int, int], then: tuple[int, int], stands: tuple[int, int]
) -> None:
    await store.open(session())
    await store.ask(question())
    for generation, attempt in (first, then):
        await store.answer(answer(text=f"{generation}-{attempt}", generation=generation, attempt=attempt))

    turn = await store.turn("s", "m1")

    assert turn is not None
    assert turn.answer is not None
    assert turn.answer.text == f"{stands[0]}-{stands[1]}"


async def test_an_attempt_may_correct_itself(store: Store) -> None:
    await exchange_of_a_new_session(store)

    await store.answer(answer(text="Hi", end=done("Hi", "cancelled")))

    turn = await store.turn("s", "m1")
    assert turn is not None
    assert turn.answer == answer(text="Hi", end=done("Hi", "cancelled"))


async def test_of_answers_that_are_stored_together_the_newest_stands(store: Store) -> None:
    await store.open(session())
    await store.ask(question())

    await asyncio.gather(*(store.answer(answer(text=str(attempt), attempt=attempt)) for attempt in (2, 3, 1)))

    turn = await store.turn("s", "m1")
    assert turn is not None
    assert turn.answer is not None
    assert turn.answer.text == "3"


async def test_an_answer_to_nothing_changes_nothing(store: Store) -> None:
    await store.answer(answer())

    assert await store.turn("s", "m1") is None


# --- S3: deleted is deleted -----------------------------------------------------------------------------------------


async def test_nothing_brings_a_deleted_session_back(store: Store) -> None:
    await exchange_of_a_new_session(store)
    await store.ask(question("m2"))

    await store.delete("s")

    await store.answer(answer("m2", generation=8))
    for attempt in (store.open(session()), store.ask(question("m3")), store.ask(question("m1"))):
        with contextlib.suppress(SessionNotFound):
            assert await attempt is None
    for reading in (store.session("s"), store.rename("s", "x"), store.delete("s"), store.annotate("s", "m1", {})):
        with pytest.raises(SessionNotFound):
            await reading
    assert await store.turns("s") == []
    assert await store.turn("s", "m2") is None
    assert (await store.sessions("me", 10)).sessions == []


async def test_what_comes_together_with_a_deleted_session_is_stored(store: Store) -> None:
    await store.open(session())
    await store.delete("s")

    calls = store.open(session()), store.open(session("t")), store.ask(question()), store.ask(question(of="t"))
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert results[1] is results[3] is None
    assert [result for result in results if not isinstance(result, SessionNotFound | None)] == []
    assert len(await store.turns("t")) == 1
    assert await store.turns("s") == []


async def test_other_sessions_stay(store: Store) -> None:
    await store.open(session("s"))
    await store.open(session("t"))
    await exchange(store, "m1", 7, "t")

    await store.delete("s")

    assert len(await store.turns("t")) == 1


# --- reading --------------------------------------------------------------------------------------------------------


async def test_turns_come_in_the_order_of_the_conversation(store: Store) -> None:
    """As they ran, not as they were stored: two gateways may have stored both before either ran."""
    await store.open(session())
    for id in ("a", "b", "c", "d"):
        await store.ask(question(id))
    await store.answer(answer("b", generation=8))
    await store.answer(answer("a", generation=9))

    assert [turn.question.id for turn in await store.turns("s")] == ["b", "a", "c", "d"]
    assert [turn.question.id for turn in await store.turns("s", after=8)] == ["a", "c", "d"]


async def test_a_context_has_what_was_said_well_in_order(store: Store) -> None:
    await store.open(session())
    for number, id in enumerate(("m1", "m2", "m3")):
        await exchange(store, id, 10 - number, text=f"to {id}")
    await store.ask(question("failed"))
    await store.answer(answer("failed", generation=11, end=Failed("expired", "Too long.", True)))
    await store.ask(question("mute"))
    await store.answer(answer("mute", text="", generation=12))
    await store.ask(question("m4"))

    context = await store.context("s", "m4", 10_000)

    assert context == [Exchange(f"Hello {id}", f"to {id}") for id in ("m3", "m2", "m1")]
    assert await store.context("s", "m2", 10_000) == [context[0], context[2]]  # an earlier attempt may have ended it


@pytest.mark.parametrize(("room", "kept"), [(199, 0), (200, 1), (399, 1), (400, 2), (19_999, 99), (10**6, 100)])
async def test_a_context_ends_where_the_room_does(store: Store, room: int, kept: int) -> None:
    await store.open(session())
    for number in range(100):
        store.ask(question(f"m{number}", f"{number:100}"))
        store.answer(answer(f"m{number}", f"{number:100}", generation=number + 1))

    context = await store.context("s", "now", room)

    assert [int(exchange.text) for exchange in context] == list(range(100 - kept, 100))


async def test_a_context_has_no_gap(store: Store) -> None:
    await store.open(session())
    for number, length in enumerate((1, 100, 1)):
        await exchange(store, f"m{number}", number + 1, text="x" * length)

    assert len(await store.context("s", "now", 50)) == 1


async def test_a_context_is_that_of_the_own_session(store: Store) -> None:
    await asyncio.gather(store.open(session("s")), store.open(session("t")))
    await asyncio.gather(exchange(store, "m1", 7, "s", "mine"), exchange(store, "m1", 7, "t", "other"))

    assert [said.text for said in await store.context("s", "m2", 100)] == ["mine"]
    assert [said.text for said in await store.context("t", "m2", 100)] == ["other"]


async def test_sessions_come_in_pages_the_newest_first(store: Store) -> None:
    for number in range(5):
        await store.open(session(f"s{number}", at=number // 2))
    await store.open(session("other", owner="somebody else"))

    first = await store.sessions("me", 2)
    second = await store.sessions("me", 2, first.next)
    third = await store.sessions("me", 2, second.next)

    pages = [[found.id for found in page.sessions] for page in (first, second, third)]
    assert pages == [["s4", "s3"], ["s2", "s1"], ["s0"]]
    assert third.next is None
    assert (await store.sessions("nobody", 2)).sessions == []


async def test_a_message_makes_its_session_the_newest(store: Store) -> None:
    await store.open(session("old"))
    await store.open(session("new", at=5_000))

    await store.ask(question(of="old", at=10_000))

    found = (await store.sessions("me", 10)).sessions
    assert [(one.id, one.updated_ms) for one in found] == [("old", START + 10_000), ("new", START + 5_000)]


async def test_a_session_can_be_renamed(store: Store) -> None:
    await store.open(session(title="before"))

    await store.rename("s", "after")

    assert (await store.session("s")).title == "after"


async def test_a_message_can_be_annotated(store: Store) -> None:
    await store.open(session())
    await store.ask(question(meta={"a": 1}))

    await store.annotate("s", "m1", {"b": [2]})

    turn = await store.turn("s", "m1")
    assert turn is not None
    assert turn.question.meta == {"b": [2]}


async def test_what_was_started_first_is_done_first(store: Store) -> None:
    await store.open(session())
    store.ask(question())
    store.answer(answer())

    assert len(await store.turns("s")) == 1


async def test_many_at_once(store: Store) -> None:
    ids = [f"s{number}" for number in range(300)]

    await asyncio.gather(*(store.open(session(id)) for id in ids))
    await asyncio.gather(*(store.ask(question(of=id)) for id in ids))
    await asyncio.gather(*(store.answer(answer(of=id, text=id)) for id in ids))
    asked = await asyncio.gather(*(store.ask(question(of=id)) for id in ids))

    assert [one and one.text for one in asked] == ids


async def test_a_caller_may_lose_its_patience(store: Store) -> None:
    await store.open(session())
    asking = store.ask(question())
    asking.cancel()

    assert len(await store.turns("s")) == 1


async def test_check(store: Store) -> None:
    await store.check()


def test_a_terminal_has_its_cursor() -> None:
    one: Answer = answer()

    assert str(one.cursor) == "7-1-4-00c0ffee"
