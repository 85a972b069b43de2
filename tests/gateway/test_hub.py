"""Sessions, connections and their positions, over the in-process broker."""

import asyncio

import pytest

from gateway.hub import PAGE_BYTES, Patience
from gateway.outbox import ROOM
from shared.brokers.state import Limits
from shared.errors import BrokerUnavailable, EngineError, QueueFull, SessionNotFound
from shared.messages import Cursor, text_sha256
from tests.gateway.chatting import Chats, Client, chatting, turns

PATIENT = Patience(send=30.0)


def contents(client: Client) -> list[str]:
    """The frames without their details: the type and the id or the code."""
    return [f"{frame['type']} {frame.get('id') or frame.get('code') or ''}".strip() for frame in client.new()]


def nothing_left(chats: Chats) -> bool:
    """No hub knows a session or a connection, the broker no subscription."""
    hubs = [gateway.hub for gateway in chats.gateways]
    assert [len(hub) for hub in hubs] == [0, 0]
    assert [hub._sessions for hub in hubs] == [{}, {}]
    assert [hub._touched for hub in hubs] == [[], []]
    subscribers = chats.memory.state._subscribers.values()
    assert [subscriber.sessions for subscriber in subscribers if subscriber.sessions] == []
    return True


# --- asking ---------------------------------------------------------------------------------------------------------


async def test_an_exchange() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a", "\nb")
        run.done("c")
        await chats.settle()

        assert contents(client) == ["session", "accepted m1", "started m1", *["delta m1"] * 3, "done m1"]
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
        assert contents(client) == ["session"]

        chats.one.broker.release()
        await chats.settle()
        assert contents(client) == ["accepted m1", "started m1", "delta m1", "delta m1", "done m1"]


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
        assert contents(client)[-1] == "error m10"
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
        assert contents(client)[-1] == "accepted m10"


async def test_the_place_in_the_queue_comes_before_the_start() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.ask("m1")
        await turns()
        client.new()
        chats.clock.advance(1.1)
        await turns()
        chats.worker.take_one().say("a")
        chats.one.pull()
        assert contents(client) == ["queued m1", "started m1", "delta m1"]


async def test_the_place_in_the_queue_is_no_news_once_the_reply_has_been_read() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.ask("m1")
        await turns()
        chats.clock.advance(1.1)
        await turns()
        chats.worker.take_one().done("a")
        second = chats.one.resume(client.session)
        await turns()
        chats.one.pull()
        assert contents(second) == ["session", "started m1", "delta m1", "done m1"]


async def test_the_place_in_the_queue_comes_behind_the_acceptance() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        chats.one.broker.hold("submit")
        client.ask("m1")
        await chats.pass_time(1.1)
        chats.one.broker.release()
        await chats.settle()
        assert contents(client) == ["session", "accepted m1"]


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
            assert contents(client) == ["accepted m1"]
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
        assert contents(second) == ["accepted m1"]


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
        assert contents(new) == ["session", "done m1", "accepted m2", "started m2", "delta m2", "done m2"]


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
        assert contents(client) == ["accepted m1"]


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
        assert contents(two)[-1] == "accepted m2"


# --- no broker ------------------------------------------------------------------------------------------------------

EVERYTHING = ("open", "attach", "submit", "cancel", "read", "newest", "detach")


async def test_without_a_broker_every_message_is_refused_and_a_later_one_works() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        chats.one.broker.fail(*EVERYTHING)
        for id in ("m1", "m2", "m3"):
            client.ask(id)
        await chats.settle()
        assert [(frame["code"], frame.get("id")) for frame in client.new()] == [
            ("broker_unavailable", None),
            ("broker_unavailable", "m1"),
            ("broker_unavailable", "m2"),
            ("broker_unavailable", "m3"),
        ]

        chats.one.broker.heal()
        client.ask("m1")
        await chats.settle()
        assert contents(client) == ["session", "accepted m1"]
        assert client.writer.closed is None


async def test_without_a_broker_plain_messages_are_refused_and_a_later_one_works() -> None:
    async with chatting() as chats:
        client = chats.one.plain()
        chats.one.broker.fail(*EVERYTHING)
        client.type_in("Hello")
        client.type_in("Hello again")
        await chats.settle()
        assert [text.split(": ")[:2] for text in client.texts] == [["error", "broker_unavailable"]] * 2

        chats.one.broker.heal()
        client.type_in("Hello?")
        await chats.settle()
        chats.worker.take_one().done("a")
        await chats.settle()
        assert client.texts[2:] == ["a"]


async def test_a_message_whose_session_failed_is_refused_even_if_the_broker_has_it() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        chats.one.broker.fail("attach")
        client.ask("m1")
        await chats.settle()
        assert [(frame["code"], frame.get("id")) for frame in client.new()] == [
            ("broker_unavailable", None),
            ("broker_unavailable", "m1"),
        ]


async def test_a_resume_and_a_cancel_without_a_broker() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        chats.one.broker.fail(*EVERYTHING)
        client.new()
        client.send("cancel", id="m1")
        second = chats.one.resume(client.session)
        await chats.settle()
        assert [(frame["code"], frame["id"]) for frame in client.new()] == [("broker_unavailable", "m1")]
        assert [frame["code"] for frame in second.new()] == ["broker_unavailable"]
        chats.one.broker.heal()
        second.send("resume", session_id=client.session)
        await chats.settle()
        assert contents(second) == ["session", "started m1", "delta m1"]


# --- resuming -------------------------------------------------------------------------------------------------------


async def a_chat_of_everything(chats: Chats) -> Client:
    """Two ended replies and a running one: items of several events, takeovers of both kinds, an error."""
    client, run = await chats.chat("m1", "a", "b", "c")
    run.say("d")
    chats.worker.die()
    chats.worker.take_one().say("e", "f")
    chats.worker.die()
    run = chats.worker.take_one()
    run.say("A", "B", exact=False)
    run.done("C")
    await chats.settle()
    client.ask("m2")
    await chats.settle()
    chats.worker.take_one().failed(EngineError())
    await chats.settle()
    client.ask("m3")
    await chats.settle()
    chats.worker.take_one().say("x", "y", "z")
    await chats.settle()
    return client


@pytest.mark.parametrize("gateway", [0, 1])
async def test_a_resume_from_every_event_gives_each_later_one_once_as_it_was(gateway: int) -> None:
    async with chatting() as chats:
        client = await a_chat_of_everything(chats)
        events = client.events
        assert [event["type"] for event in events].count("takeover") == 2
        at = chats.gateways[gateway]
        resumed = [at.resume(client.session)] + [at.resume(client.session, event["cursor"]) for event in events]
        await chats.settle()

        for count, one in enumerate(resumed):
            assert one.frames[0] == {
                "type": "session",
                "session_id": client.session,
                "resumed": True,
                "recovered": True,
                "open": ["m3"],
            }
            assert one.frames[1:] == events[count:]

        chats.worker.die()
        chats.worker.take_one().done("!")
        await chats.settle()
        assert client.events[-1]["type"] == "done"
        assert all(one.frames[1:] == client.events[count:] for count, one in enumerate(resumed))


async def test_a_resume_may_begin_and_end_between_any_two_items() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a", "b")
        cursor = client.events[1]["cursor"]
        for text in "cdefg":
            second = chats.other.resume(client.session, cursor)
            await chats.settle()
            run.say(text)
            await chats.settle()
            cursor = second.events[-1]["cursor"]
            second.go()
        assert client.text("m1") == "abcdefg"
        last = chats.other.resume(client.session, cursor)
        run.done("h")
        await chats.settle()
        assert [event["type"] for event in last.events] == ["delta", "done"]


async def test_a_resume_of_more_than_a_page_gives_everything() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1")
        texts = [f"{n:05}" * 2000 for n in range(40)]
        for text in texts:
            run.say(text)
        await chats.settle()
        second = chats.other.resume(client.session)
        await turns(200)
        assert second.text("m1") == "".join(texts)
        assert second.events == client.events
        assert chats.other.broker.calls.count("read") >= 5


async def test_what_comes_while_pages_are_read_comes_behind_them() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1")
        for n in range(20):
            run.say(f"{n:05}" * 2000)
        await chats.settle()
        chats.other.broker.hold("read")
        second = chats.other.resume(client.session)
        await turns()
        run.say("live")
        chats.other.pull()
        run.done()
        chats.other.pull()
        chats.other.broker.release()
        await turns(200)
        await chats.settle()
        assert second.events == client.events


async def test_an_unknown_session_is_said_and_another_may_be_tried() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a")
        stranger = chats.one.resume("s_of_nobody", "1-1-1-00c0ffee")
        await chats.settle()
        (frame,) = stranger.frames
        assert (frame["code"], set(frame)) == ("session_not_found", {"type", "code", "message", "retryable"})
        stranger.send("resume", session_id=client.session)
        await chats.settle()
        assert contents(stranger)[1:] == ["session", "started m1", "delta m1"]


@pytest.mark.parametrize("seq", [7, 2])
async def test_a_cursor_that_names_no_event_is_a_loss_that_is_said_and_everything_is_replayed(seq: int) -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "a", "b")
        last = Cursor.parse(client.events[-1]["cursor"])
        wrong = last._replace(seq=seq, nonce=last.nonce if seq == 7 else "00c0ffee")
        second = chats.one.resume(client.session, str(wrong))
        await chats.settle()
        assert (second.frames[0]["recovered"], second.frames[0]["open"]) == (False, ["m1"])
        assert second.frames[1:] == client.events


async def test_what_retention_has_removed_is_a_loss_that_is_said() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a", "b")
        run.done()
        await chats.settle()
        first, last = client.events[0]["cursor"], client.events[-1]["cursor"]
        await chats.pass_time(chats.limits.retention + 2)
        chats.memory.state.tick()
        assert chats.stored(client.session) == []
        resumed = [chats.other.resume(client.session, cursor) for cursor in (first, last, None)]
        await chats.settle()
        assert [one.frames[0]["recovered"] for one in resumed] == [False, True, True]
        client.ask("m2")
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        for one in resumed:
            assert contents(one) == ["session", "started m2", "delta m2", "done m2"]


async def test_frames_sent_right_behind_a_resume_are_about_its_session() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        second = chats.one.resume(client.session)
        second.ask("m2")
        second.send("ping")
        second.send("cancel", id="m1")
        second.send("start")
        await chats.settle()
        assert contents(second) == ["session", "started m1", "delta m1", "pong", "error invalid_message"]
        run.done(reason="cancelled")
        await chats.settle()
        assert contents(second) == ["done m1", "accepted m2"]


async def test_frames_sent_right_behind_a_failed_resume_may_begin_another_session() -> None:
    async with chatting() as chats:
        client = chats.one.resume("s_of_nobody")
        client.send("resume", session_id="s_of_nobody_either")
        client.ask("m1")
        await chats.settle()
        assert contents(client) == ["error session_not_found"] * 2 + ["session", "accepted m1"]


# --- cancelling -----------------------------------------------------------------------------------------------------


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
        assert contents(client) == ["session", "accepted m1", "done m1"]
        assert client.frames[-1]["receipt"] == {"generated": 0, "delivered": 0, "stop_ms": 0}
        assert chats.worker.take() == []


async def test_a_message_in_the_line_is_cancelled_when_its_turn_comes() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.ask("m2")
        client.ask("m3")
        client.send("cancel", id="m2")
        await chats.settle()
        client.new()
        run.done()
        await chats.settle()
        assert sorted(contents(client)) == ["accepted m2", "accepted m3", "done m1", "done m2"]
        assert client.events[-1]["finish_reason"] == "cancelled"
        assert [one.lease.id for one in chats.worker.take()] == ["m3"]


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


# --- leaving --------------------------------------------------------------------------------------------------------


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
        assert nothing_left(chats)
        run.done("b")
        second = chats.one.resume(client.session, client.events[-1]["cursor"])
        await chats.settle()
        assert contents(second) == ["session", "delta m1", "done m1"]


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
        assert nothing_left(chats)
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


# --- slow readers ---------------------------------------------------------------------------------------------------


async def test_a_slow_reader_holds_no_memory_delays_nobody_and_gets_everything() -> None:
    async with chatting() as chats:
        slow, run = await chats.chat("m1", "a")
        quick = chats.one.resume(slow.session)
        await chats.settle()
        slow.writer.stuck = True
        for n in range(60):
            run.say(f"{n:05}" * 2000)
            chats.one.pull()
            assert quick.events[-1]["text"] == f"{n:05}" * 2000
        assert slow.writer.most_unsent <= ROOM + 16_384
        await turns()
        assert "read" not in chats.one.broker.calls

        while quick.events != slow.events:
            slow.writer.drain()
            slow.writer.stuck = True
            await turns()
        assert slow.writer.most_unsent <= ROOM + 2 * PAGE_BYTES
        slow.writer.drain()
        await turns()
        run.done()
        chats.one.pull()
        assert quick.events == slow.events


async def test_a_reader_that_stays_slow_is_closed_and_may_resume() -> None:
    async with chatting(patience=PATIENT) as chats:
        client, run = await chats.chat("m1", "a")
        client.writer.fill()
        run.say("b")
        await chats.settle()
        await chats.pass_time(29)
        assert client.writer.closed is None
        await chats.pass_time(2)
        assert client.writer.closed is not None
        assert client.writer.closed[0] == 4408
        client.go()
        second = chats.one.resume(client.session, client.events[-1]["cursor"])
        run.done("c")
        await chats.settle()
        assert second.text("m1") == "c"


async def test_a_reader_that_is_quick_again_in_time_stays() -> None:
    async with chatting(patience=PATIENT) as chats:
        client, run = await chats.chat("m1", "a")
        for text in "bcd":
            client.writer.fill()
            run.say(text)
            await chats.settle()
            await chats.pass_time(20)
            client.writer.drain()
            await chats.settle()
        assert client.writer.closed is None
        assert client.text("m1") == "abcd"


async def test_a_page_that_could_not_be_read_is_asked_for_again() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.writer.fill()
        run.say("b")
        await chats.settle()
        run.done("c")
        await chats.settle()
        chats.one.broker.fail("read", "newest")
        client.writer.drain()
        await chats.settle()
        chats.one.broker.heal()
        await chats.pass_time(2)
        await chats.settle()
        assert contents(client)[-2:] == ["delta m1", "done m1"]


async def test_a_client_that_sends_nothing_and_gets_nothing_is_idle() -> None:
    async with chatting(patience=Patience(idle=60.0)) as chats:
        silent, asking = chats.one.client(), chats.one.client()
        reading, run = await chats.chat("m1", "a")
        await chats.pass_time(40)
        asking.send("ping")
        run.say("b")
        await chats.settle()
        await chats.pass_time(30)
        run.done("c")
        await chats.settle()
        assert silent.writer.closed is not None
        assert silent.writer.closed[0] == 4408
        assert [asking.writer.closed, reading.writer.closed] == [None, None]
        await chats.pass_time(40)
        assert asking.writer.closed is not None
        assert reading.writer.closed is None  # its reply has just ended
        await chats.pass_time(30)
        assert reading.writer.closed is not None


async def test_nobody_is_idle_unless_that_is_asked_for() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        await chats.pass_time(5000)
        assert client.writer.closed is None


# --- gaps and losses ------------------------------------------------------------------------------------------------


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
        assert contents(client)[:3] == ["delta m1", "done m1", "accepted m2"]


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
        chats.one.broker.release()
        chats.one.broker.fail("read", error=SessionNotFound())
        await chats.settle()
        chats.one.broker.heal()
        client.ask("m2")
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        await turns()
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


# --- the end --------------------------------------------------------------------------------------------------------


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
        assert [contents(client)[-1] for client in clients] == ["accepted m1", "error m1"]
        assert clients[1].frames[-1]["code"] == "queue_full"
