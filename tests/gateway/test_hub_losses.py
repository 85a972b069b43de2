"""Gaps, lost links, lost memories: whatever was missed is read again, whatever is gone is said."""

import copy

import pytest

from gateway.patience import Patience
from shared.brokers.state import BrokerState, Limits
from shared.errors import SessionNotFound
from shared.messages import Cursor
from tests.gateway.chatting import Chats, chatting, turns


async def test_a_page_for_one_reader_is_no_loss_for_another() -> None:
    """What one connection reads ahead of the batch is still to be brought to the others."""
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done("b")
        second = chats.one.resume(client.session)
        await turns()
        assert second.events[-1]["type"] == "done"
        await chats.settle()
        assert client.events == second.events


async def test_a_gap_is_closed_by_reading() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        chats.one.batch()  # and nobody has got it
        run.say("c")
        await chats.settle()
        assert client.text("m1") == "abc"
        run.done("d")
        await chats.settle()
        assert client.text("m1") == "abcd"


async def test_a_silent_session_is_checked_and_what_it_missed_is_read() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.ask("m2")
        run.done("b")
        chats.one.batch()
        client.new()
        await chats.pass_time(3)
        assert client.contents()[:3] == ["delta m1", "done m1", "accepted m2"]


async def test_silence_is_checked_in_one_call_for_all_and_only_where_something_runs() -> None:
    async with chatting() as chats:
        clients = [chats.one.client() for _ in range(20)]
        for client in clients[:10]:
            client.ask("m1")
        for client in clients[10:]:
            client.send("start")
        await chats.settle()
        await chats.pass_time(2)
        calls = chats.one.broker.calls
        assert 1 <= calls.count("newest") <= 3
        for run in chats.worker.take():
            run.done()
        await chats.settle()
        calls.clear()
        await chats.pass_time(5)
        assert calls == []


@pytest.mark.parametrize("end", [True, False])
async def test_after_a_lost_link_every_session_goes_on_where_it_was(end: bool) -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        quiet = chats.one.client()
        quiet.send("start")
        await chats.settle()
        run.say("b")
        chats.one.lose()
        run.say("c")
        if end:
            run.done()
        await chats.settle()
        assert client.text("m1") == "abc"
        if not end:
            run.say("d")
            run.done()
        quiet.ask("m1")
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        assert client.types().count("session") == 1
        assert quiet.text("m1") == "x"
        assert client.events[-1]["type"] == "done"


async def test_a_loss_that_is_heard_of_before_the_answer_to_an_attach_concerns_it_too() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        chats.other.broker.hold("attach")
        second = chats.other.resume(client.session)
        begun = chats.other.client()
        begun.send("start")
        chats.other.lose()
        chats.other.pull()
        chats.other.broker.release()
        await turns()
        run.done("b")
        begun.ask("m1")
        await turns()
        chats.worker.take_one().done("x")
        await chats.settle()
        assert second.events == client.events
        assert begun.text("m1") == "x"


@pytest.mark.parametrize("running", [True, False])
async def test_a_broker_that_has_lost_its_memory_is_said_to_all_and_later_messages_work(running: bool) -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        plain = chats.one.plain()
        plain.type_in("Hello")
        await chats.settle()
        runs = [run, chats.worker.take_one()]
        if not running:
            for one in runs:
                one.done("b")
            await chats.settle()
        client.new()
        texts = len(plain.texts)

        chats.lose_memory()
        await chats.settle()
        (frame,) = client.new()
        assert frame == {
            "type": "session",
            "session_id": client.session,
            "resumed": True,
            "recovered": False,
            "open": [],
        }
        assert [text.split(": ")[:2] for text in plain.texts[texts:]] == ([["error", "lost"]] if running else [])

        client.ask("m1" if running else "m2", "again")
        plain.type_in("again")
        await chats.settle()
        for one in chats.worker.take():
            one.done("x")
        await chats.settle()
        assert [frame["type"] for frame in client.new()] == ["accepted", "started", "delta", "done"]
        assert plain.texts[-1] == "x"
        cursors = [Cursor.parse(event["cursor"]) for event in client.events]
        assert cursors == sorted(cursors)


async def test_whoever_lacks_the_rest_of_a_reply_that_has_ended_is_told_that_it_is_lost() -> None:
    async with chatting() as chats:
        slow, quick = chats.one.plain(), chats.one.plain()
        for one in (slow, quick):
            one.type_in("Hello")
        await chats.settle()
        runs = chats.worker.take()
        for run in runs:
            run.say("a")
        await chats.settle()
        slow.writer.fill()
        for run in runs:
            run.say("b")
        await chats.settle()
        for run in runs:
            run.done("c")
        await chats.settle()

        chats.lose_memory()
        await chats.settle()
        slow.writer.drain()
        await chats.settle()
        assert quick.texts == ["a", "b", "c"]
        assert "c" not in slow.texts
        assert slow.texts[-1].startswith("error: lost: ")


async def test_messages_in_the_line_survive_the_loss_of_the_memory() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        client.ask("m2")
        client.ask("m3")
        chats.lose_memory()
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        assert [frame["id"] for frame in client.frames if frame["type"] == "accepted"] == ["m1", "m2", "m3"]


async def test_a_message_sent_before_the_loss_is_noticed_is_not_refused() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        chats.lose_memory()
        client.ask("m1")
        await turns()
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        kinds = client.types()
        assert [kind for kind in kinds if kind != "session"] == ["accepted", "started", "delta", "done"]
        assert kinds.count("session") == 2


async def test_what_a_lost_memory_had_begun_to_answer_is_not_shown_without_its_acceptance() -> None:
    async with chatting() as chats:
        client, plain = chats.one.client(), chats.one.plain()
        client.send("start")
        plain.type_in("Hi")
        await chats.settle()
        chats.worker.take_one().done("Hi")
        await chats.settle()
        chats.one.broker.hold("submit")
        client.ask("m1")
        plain.type_in("Hello")
        await turns()
        for run in chats.worker.take():
            run.say("old")
        await chats.settle()
        chats.one.broker.break_off(SessionNotFound())  # said by the new broker to the link that has asked again
        chats.lose_memory()
        await chats.settle()
        for run in chats.worker.take():
            run.done("new")
        await chats.settle()
        assert [kind for kind in client.types() if kind != "session"] == ["accepted", "started", "delta", "done"]
        assert plain.texts == ["Hi", "new"]


@pytest.mark.parametrize("anew", [True, False])
@pytest.mark.parametrize("drained", [True, False])
async def test_an_attach_that_is_repeated_with_the_submit_behind_it_shows_nothing_before_the_acceptance(
    anew: bool, drained: bool
) -> None:
    """It finds what the first sending of that submit has brought."""
    async with chatting() as chats:
        client = chats.one.client()
        if anew:
            client.send("start")
            await chats.settle()
            chats.lose_memory()
        chats.one.broker.hold("attach")
        client.ask("m1")
        await turns()
        chats.worker.take_one().done("x")
        if drained:
            chats.one.pull()
        chats.one.broker.repeat()
        chats.one.broker.release()
        await chats.settle()
        assert [frame for frame in client.contents() if frame != "session"] == [
            "accepted m1",
            "started m1",
            "delta m1",
            "done m1",
        ]


async def test_what_goes_while_a_reader_is_slow_is_a_loss_that_is_said() -> None:
    async with chatting(limits=Limits(retention=5.0), patience=Patience(send=0.0)) as chats:
        client, run = await chats.chat("m1", "a")
        client.writer.fill()
        run.say("b")
        await chats.settle()
        run.done("c")
        await chats.settle()
        await chats.pass_time(8)
        client.ask("m2")
        await chats.settle()
        chats.worker.take_one().say("x")
        await chats.settle()
        client.new()
        client.writer.drain()
        await chats.settle()
        frames = client.new()
        assert [frame["type"] for frame in frames] == ["session", "started", "delta"]
        assert (frames[0]["resumed"], frames[0]["recovered"], frames[0]["open"]) == (True, False, ["m2"])


async def test_a_slow_reader_gets_what_comes_after_the_loss() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.writer.fill()
        run.say("b")
        await chats.settle()
        chats.one.broker.hold("read")
        client.writer.drain()
        await turns()
        chats.lose_memory()
        await chats.settle()
        other = chats.other.resume(client.session)
        await chats.settle()
        other.ask("m2")
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        assert client.text("m2") == "x"
        assert client.events[-1]["type"] == "done"


async def test_a_lost_link_to_one_gateway_is_nothing_to_the_other() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        second = chats.other.resume(client.session)
        await chats.settle()
        chats.one.lose()
        run.say("b")
        chats.other.pull()
        assert second.text("m1") == "ab"
        run.done()
        await chats.settle()
        assert client.events == second.events


async def test_cursors_grow_for_all_readers_where_one_of_another_gateway_asks_first() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done()
        await chats.settle()
        chats.clock.set_wall(chats.clock.wall_ms() - 3_600_000)
        chats.lose_memory()
        chats.one.pull()  # and opens the session again
        await turns()
        newcomer = chats.other.resume(client.session)
        await turns()
        newcomer.ask("m2")
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        cursors = [Cursor.parse(event["cursor"]) for event in client.events]
        assert client.text("m2") == "x"
        assert cursors == sorted(cursors)


async def test_cursors_grow_over_a_loss_even_where_the_clock_was_set_back_and_the_gateway_is_another() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done()
        await chats.settle()
        last = client.events[-1]["cursor"]
        client.go()
        chats.clock.set_wall(chats.clock.wall_ms() - 3_600_000)
        chats.lose_memory()
        chats.memory.call("open", client.session, "", None, None)
        again = chats.other.resume(client.session, last)
        await chats.settle()
        again.ask("m2")
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        assert again.text("m2") == "x"
        assert Cursor.parse(again.events[0]["cursor"]) > Cursor.parse(last)


def memory_now(chats: Chats) -> BrokerState:
    """What a server's file holds at this moment: it may be all that is left, in the same epoch."""
    kept: BrokerState = copy.deepcopy(chats.memory.state, {id(chats.clock): chats.clock})
    return kept


async def test_a_memory_that_has_lost_the_end_of_a_session_is_said_to_that_session_alone() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        other, other_run = await chats.chat("m1", "a")
        kept = memory_now(chats)
        run.say("b")
        await chats.settle()
        assert client.text("m1") == "ab"
        client.new()
        other.new()
        chats.memory.state = kept
        chats.one.lose()
        await chats.settle()
        said = client.new()
        assert (said[0]["type"], said[0]["recovered"], said[0]["open"]) == ("session", False, ["m1"])
        assert [frame["type"] for frame in said[1:]] == ["started", "delta"]
        assert other.new() == []
        other_run.done("c")
        await chats.settle()
        assert other.text("m1") == "ac"


@pytest.mark.parametrize("ended", [False, True])
async def test_a_memory_that_has_lost_a_whole_message_says_so(ended: bool) -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done("b")
        await chats.settle()
        kept = memory_now(chats)
        client.ask("m2")
        await chats.settle()
        second = chats.worker.take_one()
        if ended:
            second.done("x")
            await chats.settle()
        client.new()
        chats.memory.state = kept
        chats.one.lose()
        await chats.settle()
        first = client.new()[0]
        assert (first["type"], first["recovered"], first["open"]) == ("session", False, [])
        client.ask("m3")
        await chats.settle()
        assert client.new()[-1]["type"] == "accepted"
