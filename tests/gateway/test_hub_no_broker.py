"""A broker that does not answer: everything is refused, nothing is stuck."""

from tests.gateway.chatting import chatting

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
        assert client.contents() == ["session", "accepted m1"]
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
        assert second.contents() == ["session", "started m1", "delta m1"]
