"""Sessions, messages and their line, over the in-process broker."""

import asyncio

import pytest

from gateway.live import LiveSession
from gateway.paging import PAGE_BYTES
from shared.brokers.state import Limits
from shared.errors import BrokerUnavailable, QueueFull
from shared.messages import text_sha256
from tests.gateway.chatting import Chats, Client, chatting, turns

# --- asking ----------------------------------------------------------------------------------------------------------


async def test_an_exchange() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a", "\nb")
        run.done("c")
        await chats.settle()

        assert client.contents() == ["session", "accepted m1", "started m1", *["delta m1"] * 3, "done m1"]
        assert client.text("m1") == "a\nbc"
        assert client.frames[-1]["text_sha256"] == text_sha256("a\nbc")


async def test_items_that_are_drained_before_the_acceptance_come_behind_it() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        chats.one.broker.hold("submit")
        client.ask("m1")
        chats.worker.take_one().done("a", "b")
        await chats.settle()
        assert client.contents() == ["session"]

        chats.one.broker.release()
        await chats.settle()
        assert client.contents() == ["accepted m1", "started m1", "delta m1", "delta m1", "done m1"]


async def test_what_a_batch_brings_is_one_write_per_connection() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        second = chats.one.resume(client.session)
        await chats.settle()
        writes = [len(one.writer.writes) for one in (client, second)]
        for text in "bcd":
            run.say(text)
        run.done()
        chats.one.pull()

        assert [len(one.writer.writes) for one in (client, second)] == [count + 1 for count in writes]
        assert client.text("m1") == second.text("m1") == "abcd"


async def test_nine_messages_wait_for_nobody() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        for n in range(2, 11):
            client.ask(f"m{n}", f"content {n}")
        await chats.settle()
        assert client.contents()[-1] == "error m10"
        assert (client.frames[-1]["code"], "cursor" in client.frames[-1]) == ("busy", False)

        run.done()
        for n in range(2, 10):
            await chats.settle()
            run = chats.worker.take_one()
            assert run.lease.id == f"m{n}"
            run.done(f"reply {n}")
        await chats.settle()
        assert [frame["id"] for frame in client.frames if frame["type"] == "done"] == [f"m{n}" for n in range(1, 10)]
        client.ask("m10")
        await chats.settle()
        assert client.contents()[-1] == "accepted m10"


async def two_in_the_queue(chats: Chats) -> tuple[Client, Client]:
    """One whose message is next, and one whose message m1 waits behind it."""
    first, second = chats.one.client(), chats.one.client()
    first.ask("other")
    second.ask("m1")
    await turns()
    return first, second


async def test_the_place_in_the_queue_comes_before_the_start() -> None:
    async with chatting() as chats:
        first, client = await two_in_the_queue(chats)
        client.new()
        first.send("cancel", id="other")
        await turns()
        chats.clock.advance(1.1)
        await turns()
        chats.worker.take_one().say("a")
        chats.one.pull()
        assert client.contents() == ["queued m1", "started m1", "delta m1"]


async def test_the_place_in_the_queue_is_no_news_once_the_reply_has_been_read() -> None:
    async with chatting() as chats:
        first, client = await two_in_the_queue(chats)
        first.send("cancel", id="other")
        await turns()
        chats.clock.advance(1.1)
        await turns()
        chats.worker.take_one().done("a")
        second = chats.one.resume(client.session)
        await turns()
        chats.one.pull()
        assert second.contents() == ["session", "started m1", "delta m1", "done m1"]


async def test_the_place_in_the_queue_comes_behind_the_acceptance() -> None:
    async with chatting() as chats:
        first, client = chats.one.client(), chats.one.client()
        first.ask("other")
        client.send("start")
        await chats.settle()
        chats.one.broker.hold("submit")
        client.ask("m1")
        await turns()
        first.send("cancel", id="other")
        await chats.pass_time(1.1)
        chats.one.broker.release()
        await chats.settle()
        assert client.contents() == ["session", "accepted m1"]


@pytest.mark.parametrize("state", ["running", "ended", "in line", "on its way"])
async def test_an_id_never_runs_twice(state: str) -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        again = "m1"
        if state == "ended":
            run.done("b")
            await chats.settle()
        elif state == "in line":
            client.ask("m2")
            again = "m2"
        elif state == "on its way":
            run.done("b")
            await chats.settle()
            chats.one.broker.hold("submit")
            client.ask("m2")
            again = "m2"
        client.new()
        client.ask(again, "quite another content")
        chats.one.broker.release()
        await chats.settle()

        if state in ("running", "ended"):
            assert client.contents() == ["accepted m1"]
        run.done("b")
        await chats.settle()
        for run in chats.worker.take():
            run.done("c")
        await chats.settle()
        assert sum(frame["type"] == "done" and frame["id"] == again for frame in client.frames) == 1
        assert sum(frame["type"] == "accepted" and frame["id"] == again for frame in client.frames) >= 1


async def test_a_running_id_is_accepted_again_on_another_gateway_at_once() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        second = chats.other.resume(client.session)
        await chats.settle()
        second.new()
        second.ask("m2")
        second.ask("m1")
        await chats.settle()
        assert second.contents() == ["accepted m1"]


async def test_a_message_in_the_line_of_a_dying_connection_is_not_lost_to_who_sends_it_again() -> None:
    async with chatting() as chats:
        old, run = await chats.chat("m1", "a")
        old.ask("m2")
        new = chats.one.resume(old.session, old.events[-1]["cursor"])
        await chats.settle()
        new.ask("m2")
        old.go()
        run.done()
        await chats.settle()
        chats.worker.take_one().done("b")
        await chats.settle()
        assert new.contents() == ["session", "done m1", "accepted m2", "started m2", "delta m2", "done m2"]


async def test_a_message_that_two_connections_send_is_accepted_for_both_and_runs_once() -> None:
    async with chatting() as chats:
        one, run = await chats.chat("m1", "a")
        two = chats.one.resume(one.session)
        await chats.settle()
        one.ask("m2")
        two.ask("m2")
        run.done()
        await chats.settle()
        assert chats.worker.take_one().lease.id == "m2"
        assert [client.types().count("accepted") for client in (one, two)] == [2, 1]


async def test_the_errors_of_a_submit_reach_who_sent_it_and_the_next_message_goes() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        for error in (BrokerUnavailable(), QueueFull()):
            chats.one.broker.fail("submit", error=error)
            client.new()
            client.ask("m1")
            await chats.settle()
            assert [(frame["code"], frame["id"]) for frame in client.new()] == [(error.code, "m1")]
        chats.one.broker.heal()
        client.ask("m1")
        await chats.settle()
        assert client.contents() == ["accepted m1"]


async def test_messages_of_one_session_from_two_gateways_are_answered_one_after_the_other() -> None:
    async with chatting() as chats:
        one, run = await chats.chat("m1", "a")
        two = chats.other.resume(one.session)
        await chats.settle()
        two.ask("m2")
        await chats.settle()
        assert chats.worker.take() == []
        run.done()
        await chats.settle()
        assert chats.worker.take_one().lease.id == "m2"
        assert two.contents()[-1] == "accepted m2"


# --- leaving ---------------------------------------------------------------------------------------------------------


async def test_closing_a_connection_drops_its_line_and_cancels_nothing() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.ask("m2")
        other = chats.one.resume(client.session)
        await chats.settle()
        other.ask("m3")
        client.go()
        run.done("b")
        await chats.settle()
        assert (other.text("m1"), other.events[-1]["finish_reason"]) == ("ab", "stop")
        assert [one.lease.id for one in chats.worker.take()] == ["m3"]


async def test_a_reply_waits_for_who_comes_back() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.go()
        await chats.settle()
        chats.check_nothing_left()
        run.done("b")
        second = chats.one.resume(client.session, client.events[-1]["cursor"])
        await chats.settle()
        assert second.contents() == ["session", "delta m1", "done m1"]


async def test_a_message_that_comes_back_as_busy_to_a_closed_connection_is_dropped() -> None:
    async with chatting() as chats:
        one, run = await chats.chat("m1", "a")
        two, three = chats.other.resume(one.session), chats.other.resume(one.session)
        await chats.settle()
        run.done()
        await turns()
        one.ask("m2")
        chats.one.pull()
        await turns()
        run = chats.worker.take_one()
        chats.other.broker.hold("submit")
        chats.other.pull()
        two.ask("m3")
        two.go()
        chats.other.broker.release()
        await chats.settle()
        run.done()
        await chats.settle()
        assert chats.worker.take() == []
        assert three.events == one.events


async def test_nothing_is_left_of_connections_that_have_gone() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        chats.one.resume("s_of_nobody").go()
        clients = [gateway.resume(client.session) for gateway in chats.gateways]
        chats.one.client().go()
        chats.one.plain().go()
        begun = chats.one.client()
        begun.send("start")
        begun.go()
        early = chats.other.resume(client.session)
        early.go()
        await chats.settle()
        for one in (client, *clients):
            one.go()
        run.done()
        await chats.settle()
        chats.check_nothing_left()
        await chats.pass_time(2)
        assert [gateway.hub._timer for gateway in chats.gateways] == [None, None]


async def test_a_connection_that_goes_while_it_reads_pages_reads_no_more() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1")
        for _ in range(40):
            run.say("x" * PAGE_BYTES)
        second = chats.other.resume(client.session)
        await turns(3)
        second.go()
        reads = chats.other.broker.calls.count("read")
        await turns(100)
        assert chats.other.broker.calls.count("read") == reads < 5
        assert chats.other.hub._sessions == {}


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_going_away_is_said_to_all_that_can_hear_it() -> None:
    async with chatting() as chats:
        client, plain, silent = chats.one.client(), chats.one.plain(), chats.one.client()
        client.send("start")
        plain.type_in("Hello")
        await chats.settle()
        chats.one.hub.going_away(700)
        await turns()
        for one in (client, silent):
            assert set(one.frames[-1]) == {"type", "retry_after_ms"}
            assert one.frames[-1]["type"] == "going_away"
            assert 350 <= one.frames[-1]["retry_after_ms"] <= 1050
        assert plain.texts == []


async def test_the_hub_drains_for_ever() -> None:
    async with chatting() as chats:
        running = asyncio.create_task(chats.one.hub.run())
        client = chats.one.client()
        client.ask("m1")
        await turns()
        chats.worker.take_one().done("a")
        await turns()
        client.ask("m2")
        await turns()
        chats.worker.take_one().done("b")
        await turns()
        assert (client.text("m1"), client.text("m2"), client.events[-1]["type"]) == ("a", "b", "done")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_session_has_its_limits_from_the_broker() -> None:
    async with chatting(limits=Limits(queue=1)) as chats:
        clients = [chats.one.client() for _ in range(2)]
        for client in clients:
            client.ask("m1")
        await chats.settle()
        assert [client.contents()[-1] for client in clients] == ["accepted m1", "error m1"]
        assert clients[1].frames[-1]["code"] == "queue_full"


# --- time ------------------------------------------------------------------------------------------------------------


async def test_the_clockwork_looks_only_at_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    look = LiveSession.look

    def seen(self: LiveSession, now: float) -> bool:
        looks.append(self.id)
        return look(self, now)

    async with chatting() as chats:
        _, ended = await chats.chat("m1", "a")
        ended.done()
        asking, run = await chats.chat("m1", "a")
        behind, other = await chats.chat("m1")
        behind.writer.fill()
        other.done("a")
        await chats.settle()
        await chats.pass_time(2.0)

        monkeypatch.setattr(LiveSession, "look", seen)
        await chats.pass_time(1.0)
        assert sorted(looks) == sorted([asking.session, behind.session])

        run.done()
        behind.writer.drain()
        await chats.settle()
        await chats.pass_time(2.0)
        looks.clear()
        await chats.pass_time(2.0)
        assert looks == []


async def test_an_answer_that_comes_when_all_have_left_is_watched_by_nobody() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        chats.one.broker.hold("submit")
        client.ask("m1")
        chats.worker.take_one().say("a")
        await chats.settle()
        client.go()
        chats.one.broker.release()
        await chats.settle()
        assert not chats.one.hub._watched
