"""Conversations: what the hub stores, and what it makes of what is stored."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
import pytest

from gateway.caller import Caller
from gateway.dialect import Ask
from gateway.protocol import JsonDialect
from shared.brokers.state import Limits
from shared.errors import EngineError
from shared.messages import Done, Failed, Lease, text_sha256
from shared.request import decode_request
from shared.store import Answer, StoredSession
from shared.window import Window
from tests.contracts.stores import answer, question, session
from tests.gateway.chatting import Chats, Client, chatting, turns
from tests.gateway.writing import Run
from tests.memory_store import MemoryStore

ME = "me"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def chats(store: MemoryStore) -> AsyncIterator[Chats]:
    async with chatting(store=store) as chats:
        yield chats


async def context(store: MemoryStore, run: Run) -> list[tuple[str, str]]:
    """What the engine is given."""
    request = decode_request(run.lease.request)
    if request.room:
        exchanges = await store.context(run.lease.session, run.lease.id, request.room)
        request = request.behind(turn for exchange in exchanges for turn in exchange.turns)
    return [(turn.role, turn.content) for turn in request.turns]


async def store_answer(store: MemoryStore, run: Run, text: str, end: Done | Failed | None = None) -> None:
    """What a worker does before its terminal, which is its third event."""
    one = run.lease
    stored = answer(one.id, text, one.session, one.generation, one.attempt, end)
    await store.answer(msgspec.structs.replace(stored, seq=2, nonce=one.nonce))


class Turn(NamedTuple):
    """What a worker had of it."""

    lease: Lease
    context: list[tuple[str, str]]


async def turn(chats: Chats, store: MemoryStore, client: Client, id: str, content: str, text: str) -> Turn:
    """A whole one."""
    client.ask(id, content)
    await chats.settle()
    run = chats.worker.take_one()
    seen = await context(store, run)
    await store_answer(store, run, text)
    run.done(text)
    await chats.settle()
    return Turn(run.lease, seen)


# --- storing --------------------------------------------------------------------------------------------------------


async def test_a_message_is_stored_before_it_is_submitted(chats: Chats, store: MemoryStore) -> None:
    store.held = True
    client = chats.one.client()
    client.send("start", system="Be brief.", model="m")
    await chats.settle()

    client.send("message", id="m1", content="Hello", params={"seed": 7})
    await chats.settle()

    stored = await store.turn(client.session, "m1")
    assert stored is not None
    assert (stored.question.content, stored.question.params.seed, stored.status) == ("Hello", 7, "open")
    assert "submit" not in chats.one.broker.calls
    assert client.types() == ["session"]

    store.release()
    await chats.settle()
    assert client.types() == ["accepted"]
    kept = await store.session(client.session)
    now = chats.clock.wall_ms()
    assert kept == StoredSession(client.session, "", "Hello", "Be brief.", "m", now, now)


async def test_the_worker_is_told_that_the_message_is_stored(chats: Chats) -> None:
    _, run = await chats.chat()

    assert decode_request(run.lease.request).stored


async def test_without_a_store_nothing_is_different() -> None:
    async with chatting() as chats:
        _, run = await chats.chat()

        request = decode_request(run.lease.request)
        assert not request.stored
        assert not request.room
        assert [turn.content for turn in request.turns] == ["Hello"]


async def test_a_session_that_is_not_to_last_is_not_stored(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    chats.one.hub.begin(client.connection, None, None, stored=False)
    client.connection.dialect._begun = True  # type: ignore[attr-defined]
    client.ask("m1")
    await chats.settle()

    assert client.types() == ["session", "accepted"]
    assert store.calls == []


async def test_what_an_interface_notes_with_a_message_is_stored(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    client.send("start")
    await chats.settle()
    chats.one.hub.ask(client.connection, Ask("m1", "Hello", meta={"parent": "m0"}))
    await chats.settle()

    stored = await store.turn(client.session, "m1")
    assert stored is not None
    assert stored.question.meta == {"parent": "m0"}


async def test_a_long_first_message_gives_a_short_title(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    client.ask("m1", "What  is\nthe meaning of " + "very " * 40)
    await chats.settle()

    title = (await store.session(client.session)).title
    assert title.startswith("What is the meaning of very")
    assert len(title) <= 80
    assert title.endswith("\N{HORIZONTAL ELLIPSIS}")


# --- conversations --------------------------------------------------------------------------------------------------


async def test_several_turns_are_a_conversation(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    client.send("start", system="Be brief.")
    await turn(chats, store, client, "m1", "one", "1!")
    await turn(chats, store, client, "m2", "two", "2!")

    run = await turn(chats, store, client, "m3", "three", "3!")

    assert run.context == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "1!"),
        ("user", "two"),
        ("assistant", "2!"),
        ("user", "three"),
    ]
    assert store.calls.count("turns") == 0  # the gateway reads nothing


async def test_what_failed_or_said_nothing_is_in_no_context(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    client.ask("m1", "fails")
    await chats.settle()
    run = chats.worker.take_one()
    await store_answer(store, run, "part", Failed("engine_error", "Broken.", True))
    run.failed(EngineError())
    await chats.settle()
    client.ask("m2", "stopped in the queue")
    client.send("cancel", id="m2")
    await chats.settle()

    third = await turn(chats, store, client, "m3", "three", "3!")

    assert third.context == [("user", "three")]


async def test_turns_by_another_gateway_are_in_the_context(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    await turn(chats, store, client, "m1", "one", "1!")
    elsewhere = chats.other.resume(client.session)
    await chats.settle()

    second = await turn(chats, store, elsewhere, "m2", "two", "2!")
    third = await turn(chats, store, client, "m3", "three", "3!")

    assert [content for _, content in second.context] == ["one", "1!", "two"]
    assert [content for _, content in third.context] == ["one", "1!", "two", "2!", "three"]


async def test_a_message_that_waited_in_line_has_the_turn_before_it_in_its_context(
    chats: Chats, store: MemoryStore
) -> None:
    client = chats.one.client()
    client.ask("m1", "one")
    client.ask("m2", "two")
    await chats.settle()
    run = chats.worker.take_one()
    await store_answer(store, run, "1!")
    run.done("1!")
    await chats.settle()

    assert [content for _, content in await context(store, chats.worker.take_one())] == ["one", "1!", "two"]


async def test_the_context_is_cut_to_the_window(store: MemoryStore) -> None:
    async with chatting(store=store, window=Window(100, 50)) as chats:  # 200 characters for the prompt
        client = chats.one.client()
        client.send("start", system="s" * 20)
        await turn(chats, store, client, "m1", "a" * 40, "b" * 40)
        await turn(chats, store, client, "m2", "c" * 40, "d" * 40)

        run = await turn(chats, store, client, "m3", "e" * 60, "!")

        assert [content[0] for _, content in run.context] == ["s", "c", "d", "e"]


async def test_a_message_that_alone_is_too_long_is_refused(store: MemoryStore) -> None:
    async with chatting(store=store, window=Window(100, 50)) as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        client.ask("m1", "x" * 201)
        client.ask("m2", "x" * 200)
        await chats.settle()

        assert client.contents() == ["session", "error m1", "accepted m2"]
        assert client.frames[1]["code"] == "prompt_too_long"
        assert [stored.question.id for stored in await store.turns(client.session)] == ["m2"]


async def test_a_lost_memory_leaves_the_conversation(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    before = await turn(chats, store, client, "m1", "one", "1!")
    chats.clock.set_wall(chats.clock.wall_ms() - 3_600_000)  # and the clock was set back
    chats.lose_memory()
    await chats.settle()

    run = await turn(chats, store, client, "m2", "two", "2!")

    assert [content for _, content in run.context] == ["one", "1!", "two"]
    assert run.lease.generation > before.lease.generation


# --- sessions that only the store knows -----------------------------------------------------------------------------


async def old_session(store: MemoryStore, generation: int = 7) -> None:
    await store.open(session(owner="", system="Be brief."))
    await store.ask(question("m1", "one"))
    await store.answer(answer("m1", "1!", generation=generation))


async def test_a_session_that_only_the_store_knows_goes_on(chats: Chats, store: MemoryStore) -> None:
    newest = chats.clock.wall_ms() + 5_000
    await old_session(store, newest)

    client = chats.one.resume("s", f"{newest}-1-4-00c0ffee")
    await chats.settle()
    run = await turn(chats, store, client, "m2", "two", "2!")

    said = client.frames[0]
    assert (said["type"], said["resumed"], said["recovered"], said["open"]) == ("session", True, False, [])
    assert run.context == [("system", "Be brief."), ("user", "one"), ("assistant", "1!"), ("user", "two")]
    assert run.lease.generation > newest
    assert client.types()[-1] == "done"


async def test_without_a_cursor_too_it_says_that_events_are_gone(chats: Chats, store: MemoryStore) -> None:
    """And new generations are above those that are stored, whatever the clock says."""
    newest = chats.clock.wall_ms() + 5_000
    await old_session(store, newest)

    client = chats.one.resume("s")
    await chats.settle()
    run = await turn(chats, store, client, "m2", "two", "2!")

    assert (client.frames[0]["type"], client.frames[0]["recovered"]) == ("session", False)
    assert run.lease.generation > newest


async def test_anothers_session_does_not_exist(chats: Chats, store: MemoryStore) -> None:
    await store.open(session(owner=ME))

    client = chats.one.resume("s")
    await chats.settle()
    assert "open" not in chats.one.broker.calls
    mine = Client(chats.one.hub, JsonDialect(), Caller(ME))
    mine.send("resume", session_id="s")
    await chats.settle()

    assert client.contents() == ["error session_not_found"]
    assert mine.types() == ["session"]


async def test_what_neither_knows_does_not_exist(chats: Chats) -> None:
    client = chats.one.resume("nowhere")
    await chats.settle()

    assert client.contents() == ["error session_not_found"]


async def test_a_deleted_session_does_not_come_back(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    await turn(chats, store, client, "m1", "one", "1!")
    await store.delete(client.session)
    client.new()

    client.ask("m2")
    await chats.settle()

    assert client.contents() == ["error m2"]
    assert client.frames[-1]["code"] == "session_not_found"
    assert chats.worker.take() == []


# --- an id that has ended -------------------------------------------------------------------------------------------


async def test_an_id_that_the_store_knows_to_have_ended_never_runs_again(chats: Chats, store: MemoryStore) -> None:
    await old_session(store)
    client = chats.one.resume("s")
    await chats.settle()
    client.new()

    client.ask("m1", "one")
    await chats.settle()

    accepted, done = client.new()
    assert (accepted["type"], accepted["id"]) == ("accepted", "m1")
    assert (done["type"], done["cursor"], done["text_sha256"]) == ("done", "7-1-4-00c0ffee", text_sha256("1!"))
    assert chats.worker.take() == []

    await turn(chats, store, client, "m2", "two", "2!")
    client.new()
    client.ask("m1", "one")
    await chats.settle()
    assert client.contents() == ["accepted m1"]  # a cursor never goes back


async def test_one_that_the_broker_still_knows_has_one_terminal(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    await turn(chats, store, client, "m1", "one", "1!")
    client.new()

    client.ask("m1", "one")
    await chats.settle()

    assert client.contents() == ["accepted m1"]


# --- a store that is away -------------------------------------------------------------------------------------------


async def test_new_messages_are_refused_while_the_store_is_away(chats: Chats, store: MemoryStore) -> None:
    client, run = await chats.chat("m1", "Hel")
    store.away = True
    other = chats.one.client()
    other.ask("m1")
    run.say("lo")
    await chats.settle()

    assert other.contents() == ["session", "error m1"]
    refused = other.frames[-1]
    assert (refused["code"], refused["retryable"]) == ("store_unavailable", True)
    assert client.text("m1") == "Hello"

    store.away = False
    other.ask("m1")
    await chats.settle()
    assert other.contents() == ["accepted m1"]


async def test_a_line_goes_on_behind_what_was_refused(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    store.away = True
    for id in ("m1", "m2", "m3"):
        client.ask(id)
    await chats.settle()

    assert client.contents() == ["session", "error m1", "error m2", "error m3"]


async def test_a_session_cannot_be_resumed_from_a_store_that_is_away(chats: Chats, store: MemoryStore) -> None:
    await old_session(store)
    store.away = True

    client = chats.one.resume("s")
    await chats.settle()
    assert client.contents() == ["error store_unavailable"]

    store.away = False
    client.send("resume", session_id="s")
    await chats.settle()
    assert client.types() == ["session"]


async def test_a_message_that_the_broker_refuses_is_not_kept(store: MemoryStore) -> None:
    async with chatting(store=store, limits=Limits(queue=1)) as chats:
        first, second = chats.one.client(), chats.one.client()
        first.ask("m1")
        await chats.settle()
        second.ask("m1")
        await chats.settle()

        assert (second.frames[-1]["type"], second.frames[-1]["code"]) == ("error", "queue_full")
        assert await store.turns(second.session) == []


# --- while a message is being stored --------------------------------------------------------------------------------


async def test_a_message_that_is_stopped_while_it_is_being_stored_does_not_run(
    chats: Chats, store: MemoryStore
) -> None:
    client = chats.one.client()
    client.send("start")
    await chats.settle()
    store.held = True
    client.ask("m1")
    client.send("cancel", id="m1")
    await chats.settle()
    store.release()
    await chats.settle()

    assert client.contents() == ["session", "accepted m1", "done m1"]
    assert chats.worker.take() == []


async def test_one_that_was_stopped_does_not_run_though_the_broker_has_forgotten_the_cancel(
    chats: Chats, store: MemoryStore
) -> None:
    client = chats.one.client()
    client.send("start")
    await chats.settle()
    store.held = True
    client.ask("m1")
    client.send("cancel", id="m1")
    await chats.settle()
    chats.lose_memory()
    await chats.settle()
    store.release()
    await chats.settle()

    assert client.contents()[-2:] == ["accepted m1", "done m1"]
    assert chats.worker.take() == []


async def test_what_is_being_stored_when_its_client_goes_is_submitted(chats: Chats, store: MemoryStore) -> None:
    store.held = True
    client = chats.one.client()
    client.ask("m1")
    await turns()
    client.go()
    store.release()
    await chats.settle()

    assert len(chats.worker.take()) == 1
    chats.check_nothing_left()


async def test_two_gateways_that_store_at_the_same_time(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    await turn(chats, store, client, "m0", "zero", "0!")
    elsewhere = chats.other.resume(client.session)
    await chats.settle()
    client.ask("m1", "one")
    elsewhere.ask("m2", "two")
    await chats.settle()
    first = chats.worker.take_one()
    asked = (await context(store, first))[-1][1]
    await store_answer(store, first, "first!")
    first.done("first!")
    await chats.settle()
    second = await context(store, chats.worker.take_one())

    assert [content for _, content in second][:4] == ["zero", "0!", asked, "first!"]


# --- terminals that no worker stored --------------------------------------------------------------------------------


def stored_end(stored: Answer | None) -> tuple[str, str]:
    """How it ended, and its text."""
    assert stored is not None
    return (stored.end.finish_reason if isinstance(stored.end, Done) else stored.end.code), stored.text


async def test_a_gateway_stores_the_end_of_what_was_cancelled_in_the_queue(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    client.ask("m1")
    client.send("cancel", id="m1")
    await chats.settle()

    (stored,) = await store.turns(client.session)
    assert stored_end(stored.answer) == ("cancelled", "")


async def test_a_gateway_stores_the_end_of_what_its_workers_lost(chats: Chats, store: MemoryStore) -> None:
    client, run = await chats.chat("m1", "Hel", "lo")
    await store_answer(store, run, "Hello!")  # what it could not append any more
    for _ in range(3):
        chats.worker.die()
        chats.worker = type(chats.worker)(chats.memory, alone=True)
        chats.worker.take()
        chats.worker.die()
        chats.worker = type(chats.worker)(chats.memory)
        chats.worker.take()
    await chats.settle()

    assert client.events[-1]["code"] == "worker_lost"
    (stored,) = await store.turns(client.session)
    assert stored_end(stored.answer) == ("worker_lost", "Hello")


async def test_what_could_not_be_stored_is_tried_again(chats: Chats, store: MemoryStore) -> None:
    client = chats.one.client()
    client.ask("m1")
    await chats.settle()
    store.away = True
    client.send("cancel", id="m1")
    await chats.settle()
    store.away = False
    await chats.pass_time(2)
    await chats.settle()

    (stored,) = await store.turns(client.session)
    assert stored_end(stored.answer) == ("cancelled", "")


async def test_whoever_comes_next_stores_the_end_that_nobody_was_there_to_store(
    chats: Chats, store: MemoryStore
) -> None:
    client, run = await chats.chat("m1", "Hel", "lo")
    client.go()
    await chats.settle()
    run.done(reason="cancelled")  # by the broker's count this attempt did not store it
    session = run.lease.session

    assert chats.other.hub.history is not None
    (stored,) = await chats.other.hub.history.turns(session)

    assert stored_end(stored.answer) == ("cancelled", "Hello")


async def test_the_streams_end_goes_before_that_of_a_worker_that_could_not_send_it(
    chats: Chats, store: MemoryStore
) -> None:
    client, run = await chats.chat("m1", "Hel")
    await store_answer(store, run, "Hello!")
    client.go()
    await chats.settle()
    chats.worker.die()
    chats.memory.call("cancel", run.lease.session, "m1")

    assert chats.other.hub.history is not None
    (stored,) = await chats.other.hub.history.turns(run.lease.session)

    assert stored_end(stored.answer) == ("cancelled", "Hel")
