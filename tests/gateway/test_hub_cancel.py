"""Stop, from wherever it comes and wherever the reply is."""

import pytest

from shared.errors import SessionNotFound
from tests.gateway.chatting import Chats, chatting, turns


async def test_a_running_reply_is_cancelled_from_any_connection_of_the_session() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a", "b")
        others = [gateway.resume(client.session, client.events[-1]["cursor"]) for gateway in chats.gateways]
        await chats.settle()
        others[1].send("cancel", id="m1")
        await chats.settle()
        assert [refusal.reason for refusal in run.say("c")] == ["cancelled"]
        run.done(reason="cancelled")
        run.say("d")
        await chats.settle()
        for one in (client, *others):
            assert one.events[-1] == client.events[-1]
        assert (client.events[-1]["finish_reason"], client.text("m1")) == ("cancelled", "ab")


async def test_a_cancel_without_a_worker_that_answers_ends_by_the_clock() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.send("cancel", id="m1")
        await chats.settle()
        await chats.pass_time(1.5)
        await chats.settle()
        assert client.events[-1]["receipt"] == {"generated": None, "delivered": 1, "stop_ms": None}
        assert [refusal.reason for refusal in run.say("b")] == ["fenced"]


async def test_a_waiting_reply_is_cancelled_at_once() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.ask("m1")
        client.send("cancel", id="m1")
        await chats.settle()
        assert client.contents() == ["session", "accepted m1", "done m1"]
        assert client.frames[-1]["receipt"] == {"generated": 0, "delivered": 0, "stop_ms": 0}
        assert chats.worker.take() == []


async def test_a_message_in_the_line_is_cancelled_when_its_turn_comes() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.ask("m2")
        client.ask("m3")
        client.new()
        client.send("cancel", id="m2")
        await chats.settle()
        assert client.new() == []
        run.done()
        await chats.settle()
        assert sorted(client.contents()) == ["accepted m2", "accepted m3", "done m1", "done m2"]
        assert client.events[-1]["finish_reason"] == "cancelled"
        assert [one.lease.id for one in chats.worker.take()] == ["m3"]


async def test_a_cancel_at_another_gateway_than_that_of_the_line_is_unknown_there_and_takes_effect() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.ask("m2")
        second = chats.other.resume(client.session)
        await chats.settle()
        client.new()
        second.new()
        second.send("cancel", id="m2")
        await chats.settle()
        assert [(frame["code"], frame["id"]) for frame in second.new()] == [("unknown_id", "m2")]
        run.done()
        await chats.settle()
        assert sorted(client.contents()) == ["accepted m2", "done m1", "done m2"]
        assert second.contents() == ["done m1", "done m2"]
        assert second.events[-1]["finish_reason"] == "cancelled"
        assert chats.worker.take() == []


async def test_a_cancel_of_what_has_ended_says_nothing() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done()
        await chats.settle()
        client.new()
        client.send("cancel", id="m1")
        await chats.settle()
        assert client.new() == []


@pytest.mark.parametrize("begun", [True, False])
async def test_a_cancel_of_what_nobody_has_seen_is_an_error(begun: bool) -> None:
    async with chatting() as chats:
        client = chats.one.client()
        if begun:
            client.send("start")
        client.send("cancel", id="m9")
        await chats.settle()
        assert [(frame["code"], frame["id"]) for frame in client.new()[begun:]] == [("unknown_id", "m9")]


def cancels(chats: Chats) -> int:
    """How many the first gateway has sent."""
    return chats.one.broker.calls.count("cancel")


@pytest.mark.parametrize("stays", [True, False])
async def test_a_cancel_without_an_answer_is_repeated_until_there_is_one(stays: bool) -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        chats.one.broker.fail("cancel")
        client.new()
        client.send("cancel", id="m1")
        await chats.settle()
        assert [(frame["code"], frame["id"], frame["retryable"]) for frame in client.new()] == [
            ("broker_unavailable", "m1", True)
        ]
        if not stays:
            client.go()
        await chats.pass_time(3.0)
        assert cancels(chats) > 3
        assert client.new() == []  # told once
        chats.one.broker.heal()
        await chats.pass_time(1.0)
        assert [refusal.reason for refusal in run.say("b")] == ["cancelled"]
        run.done(reason="cancelled")
        await chats.settle()
        assert client.contents() == ["done m1"] * stays
        sent = cancels(chats)
        await chats.pass_time(5.0)
        assert cancels(chats) == sent


async def test_of_many_stops_without_an_answer_one_is_repeated() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        chats.one.broker.fail("cancel")
        for _ in range(5):
            client.send("cancel", id="m1")
        await chats.settle()
        assert cancels(chats) == 5
        await chats.pass_time(1.0)
        assert cancels(chats) == 6


async def test_a_cancel_from_the_line_gets_through_before_its_message_does() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.ask("m2")
        chats.one.broker.fail("cancel")
        client.send("cancel", id="m2")
        await chats.settle()
        chats.one.broker.heal()
        await chats.pass_time(1.0)
        run.done()
        await chats.settle()
        assert client.events[-1]["finish_reason"] == "cancelled"
        assert chats.worker.take() == []


@pytest.mark.parametrize("id", ["m1", "m9"])
async def test_what_does_not_run_here_is_not_worth_repeating(id: str) -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done()
        await chats.settle()
        chats.one.broker.fail("cancel")
        client.send("cancel", id=id)
        await chats.pass_time(3.0)
        assert cancels(chats) == 1
        assert client.frames[-1]["code"] == "broker_unavailable"


async def test_a_broker_that_has_forgotten_all_is_sent_no_old_cancels() -> None:
    """It would remember them for the messages that are sent again under the same ids."""
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        chats.one.broker.fail("cancel")
        client.send("cancel", id="m1")
        await chats.settle()
        chats.lose_memory()
        await chats.settle()
        chats.one.broker.heal()
        sent = cancels(chats)
        await chats.pass_time(3.0)
        assert cancels(chats) == sent
        client.ask("m1")
        await chats.settle()
        assert [run.lease.id for run in chats.worker.take()] == ["m1"]


@pytest.mark.parametrize("cancelled", ["before the loss", "before it is noticed", "behind it"])
async def test_what_was_stopped_in_the_line_does_not_run_because_the_memory_was_lost(cancelled: str) -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        client.ask("m2")
        client.ask("m3")
        await chats.settle()
        client.new()
        if cancelled == "before the loss":
            client.send("cancel", id="m2")
            await chats.settle()
        chats.lose_memory()
        if cancelled == "before it is noticed":
            client.send("cancel", id="m2")
            await turns()
        chats.one.pull()
        if cancelled == "behind it":
            client.send("cancel", id="m2")
        await chats.settle()
        assert sorted(client.contents()) == ["accepted m2", "accepted m3", "done m2", "session"]
        assert client.events[-1]["finish_reason"] == "cancelled"
        assert [run.lease.id for run in chats.worker.take()] == ["m3"]


async def test_what_was_stopped_on_its_way_to_a_broker_that_dies_does_not_run() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        client.new()
        chats.one.broker.hold("submit")
        client.ask("m1")
        client.send("cancel", id="m1")
        await turns()
        chats.one.broker.break_off(SessionNotFound())  # said to both by the new broker
        chats.lose_memory()
        await chats.settle()
        assert client.contents() == ["session", "accepted m1", "done m1"]
        assert client.events[-1]["finish_reason"] == "cancelled"
        assert chats.worker.take() == []


async def test_what_ran_until_the_memory_was_lost_is_not_called_unknown() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        client.new()
        chats.lose_memory()
        client.send("cancel", id="m1")
        await turns()
        await chats.settle()
        (frame,) = client.new()
        assert (frame["type"], frame["recovered"], frame["open"]) == ("session", False, [])
