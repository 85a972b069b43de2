"""Readers that do not read."""

from gateway.outbox import ROOM
from gateway.paging import PAGE_BYTES
from gateway.patience import Patience
from tests.gateway.chatting import chatting, turns

PATIENT = Patience(send=30.0)


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
        run.say("b")
        await chats.pass_time(29)
        assert client.writer.closed is None
        assert "read" not in chats.one.broker.calls
        await chats.pass_time(2)
        assert client.writer.closed is not None
        assert client.writer.closed[0] == 4408
        client.go()
        second = chats.one.resume(client.session, client.events[-1]["cursor"])
        run.done("c")
        await chats.settle()
        assert client.text("m1") + second.text("m1") == "abbc"


async def test_nothing_is_kept_of_a_slow_reader_that_was_answered_after_its_end() -> None:
    async with chatting(patience=PATIENT) as chats:
        other = chats.one.client()
        client, _ = await chats.chat("m1", "a")
        client.writer.fill()
        chats.one.broker.hold("cancel")
        client.send("cancel", id="m9")
        client.go()
        chats.one.broker.release()
        await chats.settle()
        assert [frame["code"] for frame in client.frames if frame["type"] == "error"] == ["unknown_id"]
        await chats.pass_time(32)
        assert chats.one.hub._blocked == {}
        other.go()


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
        assert client.contents()[-2:] == ["delta m1", "done m1"]


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
