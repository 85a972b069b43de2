"""Deleted sessions: their readers are told, and nothing brings them back."""

from shared.errors import SessionNotFound
from tests.conftest import FakeClock
from tests.gateway.chatting import chatting, turns

SENTENCE = "This session has been deleted, or has expired."
GONE = {"type": "error", "code": "session_not_found", "message": SENTENCE, "retryable": False}


async def test_readers_on_every_gateway_are_told_and_closed() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "text")
        other = chats.other.resume(client.session)
        await chats.settle()
        other.new()

        await chats.one.hub.deletions.forget(client.session)
        await chats.settle()

        for reader in (client, other):
            assert reader.frames[-1] == GONE
            assert reader.writer.closed == (1000, "session deleted")
            reader.go()
        assert [refusal.reason for refusal in run.say("more")] == ["fenced"]
        assert other.types() == ["error"]
        chats.check_nothing_left()
        assert chats.memory.state.stats().sessions == 0


async def test_a_gateway_that_has_not_heard_of_it_does_not_bring_it_back() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "text")
        run.done()
        await chats.settle()
        client.new()
        await chats.other.hub.deletions.forget(client.session)
        chats.one.lose()  # and with it the news

        client.ask("m2")
        await turns()
        await chats.settle()

        assert client.frames[-1] == GONE
        client.go()
        assert chats.memory.state.stats().sessions == 0
        chats.check_nothing_left()


async def test_what_waits_in_the_line_is_not_submitted() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "text")
        client.ask("m2")
        await chats.one.hub.deletions.forget(client.session)
        await chats.settle()

        assert client.contents()[-1] == "error session_not_found"
        assert chats.worker.take() == []
        client.go()
        chats.check_nothing_left()


async def test_a_loss_of_memory_is_no_deletion() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "text")
        run.done()
        await chats.settle()
        chats.lose_memory()
        await chats.settle()

        client.ask("m2")
        await chats.settle()

        assert client.writer.closed is None
        chats.worker.take_one().done()
        await chats.settle()
        assert client.types()[-1] == "done"
        client.go()


async def test_a_broker_that_is_away_hears_of_it_when_it_is_back(clock: FakeClock) -> None:
    async with chatting(clock) as chats:
        client, _ = await chats.chat("m1", "text")
        chats.one.broker.fail("forget")
        answer = chats.one.hub.deletions.forget(client.session)
        await turns()
        assert answer.exception() is not None
        await chats.pass_time(2)
        assert chats.memory.state.stats().sessions == 1
        chats.one.broker.heal()
        await chats.pass_time(1)

        assert chats.memory.state.stats().sessions == 0
        await chats.settle()
        assert client.frames[-1] == GONE
        client.go()


async def test_a_deleted_session_cannot_be_resumed() -> None:
    async with chatting() as chats:
        client, _ = await chats.chat("m1", "text")
        await chats.one.hub.deletions.forget(client.session)
        await chats.settle()
        late = chats.other.resume(client.session)
        await chats.settle()

        assert late.contents() == [f"error {SessionNotFound.code}"]
        late.go()
        client.go()
        chats.check_nothing_left()
