"""Ends of subscriptions that the broker must hear of, however long it was away."""

from tests.gateway.chatting import chatting


async def test_a_subscription_that_ends_while_the_broker_is_away_does_not_stay_behind() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.done()
        await chats.settle()
        chats.one.broker.fail("detach")
        client.go()
        await chats.settle()
        chats.one.broker.heal()
        await chats.settle()
        chats.check_nothing_left()
        chats.one.broker.calls.clear()
        await chats.settle()
        assert chats.one.broker.calls == []


async def test_a_session_that_is_wanted_again_stays_subscribed() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        chats.one.broker.fail("detach")
        client.go()
        await chats.settle()
        again = chats.one.resume(client.session)
        chats.one.broker.heal()
        await chats.settle()
        run.done("b")
        chats.one.pull()
        assert again.text("m1") == "ab"
