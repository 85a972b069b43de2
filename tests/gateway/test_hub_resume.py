"""Coming back: from every position, to every gateway, at every moment."""

import pytest

from shared.errors import EngineError
from shared.messages import Cursor
from tests.gateway.chatting import Chats, Client, chatting, turns


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


async def test_what_comes_between_the_page_and_its_arrival_is_no_gap() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        chats.other.resume(client.session)
        await chats.settle()
        chats.other.broker.hold("attach")
        second = chats.other.resume(client.session)
        await turns()
        run.done("b")
        await chats.settle()
        assert second.frames == []
        chats.other.broker.release()
        await turns()
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
        assert stranger.contents()[1:] == ["session", "started m1", "delta m1"]


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
            assert one.contents() == ["session", "started m2", "delta m2", "done m2"]


async def test_frames_sent_right_behind_a_resume_are_about_its_session() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        second = chats.one.resume(client.session)
        second.ask("m2")
        second.send("ping")
        second.send("cancel", id="m1")
        second.send("start")
        await chats.settle()
        assert second.contents() == ["session", "started m1", "delta m1", "pong", "error invalid_message"]
        run.done(reason="cancelled")
        await chats.settle()
        assert second.contents() == ["done m1", "accepted m2"]


async def test_frames_sent_right_behind_a_failed_resume_may_begin_another_session() -> None:
    async with chatting() as chats:
        client = chats.one.resume("s_of_nobody")
        client.send("resume", session_id="s_of_nobody_either")
        client.ask("m1")
        await chats.settle()
        assert client.contents() == ["error session_not_found"] * 2 + ["session", "accepted m1"]


async def test_what_is_accepted_by_a_gateway_that_goes_away_goes_on_elsewhere_and_its_line_is_dropped() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.send("start")
        await chats.settle()
        chats.one.hub.going_away(100)
        client.ask("m1")
        client.ask("m2")
        await chats.settle()
        assert client.contents() == ["session", "going_away", "accepted m1"]
        client.go()
        again = chats.other.resume(client.session)
        await chats.settle()
        chats.worker.take_one().done("x")
        await chats.settle()
        assert again.text("m1") == "x"
        assert chats.worker.take() == []
        again.ask("m2")
        await chats.settle()
        assert chats.worker.take_one().lease.id == "m2"
