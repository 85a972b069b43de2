"""From a client's frames to the hub and back, over the in-process broker."""

import json

import pytest

from gateway.connection import MOST_EARLY
from tests.gateway.chatting import chatting, turns


def ping(nonce: int) -> str:
    return json.dumps({"type": "ping", "nonce": nonce})


async def test_what_is_said_at_once_needs_no_session() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.type_in(ping(1))
        assert client.frames == []  # the write comes at the end of this turn of the loop
        await turns()
        assert client.frames == [{"type": "pong", "nonce": 1}]
        assert chats.one.broker.calls == []


async def test_the_answers_to_what_came_together_are_one_write() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        for nonce in range(5):
            client.type_in(ping(nonce))
        await turns()
        assert [len(write) for write in client.writer.writes] == [5]


async def test_frames_keep_their_order_around_a_resume() -> None:
    async with chatting() as chats:
        first, _ = await chats.chat("m1")
        chats.one.broker.hold("attach")
        client = chats.one.client()
        client.type_in(ping(1))
        client.send("resume", session_id=first.session)
        client.type_in(ping(2))
        client.type_in(ping(3))
        await turns()
        assert client.types() == ["pong"]
        chats.one.broker.release()
        await turns()
        assert [frame.get("nonce") for frame in client.new()] == [None, 2, 3]


async def test_frames_before_the_answer_to_a_resume_are_bounded() -> None:
    async with chatting() as chats:
        chats.one.broker.hold("attach")
        client = chats.one.resume("s_1")
        for nonce in range(MOST_EARLY):
            client.type_in(ping(nonce))
        assert client.writer.closed is None
        client.type_in(ping(-1))
        assert client.writer.closed is not None
        assert client.writer.closed[0] == 1013
        client.go()
        chats.one.broker.release()
        await turns()
        assert (len(chats.one.hub), chats.one.hub._sessions, client.frames) == (0, {}, [])


async def test_what_is_not_the_protocol_ends_the_connection_behind_the_answers_to_what_was() -> None:
    async with chatting() as chats:
        client = chats.one.client()
        client.type_in(ping(1))
        client.type_in("nonsense")
        client.type_in(ping(2))
        client.ask("m1")
        await chats.settle()
        assert client.frames == [{"type": "pong", "nonce": 1}]
        assert client.writer.closed is not None
        assert client.writer.closed[0] == 4400
        assert chats.one.broker.calls == []


async def test_nothing_behind_nonsense_is_heard_even_if_it_came_early() -> None:
    async with chatting() as chats:
        first, _ = await chats.chat("m1")
        client = chats.one.resume(first.session)
        client.type_in("nonsense")
        client.ask("m2")
        await chats.settle()
        assert client.writer.closed is not None
        assert client.writer.closed[0] == 4400
        assert not chats.one.hub._sessions[first.session].line.holds("m2")


@pytest.mark.parametrize("known", [True, False])
async def test_who_is_gone_joins_nothing_and_asks_for_nothing(known: bool) -> None:
    async with chatting() as chats:
        first, _ = await chats.chat("m1")
        chats.one.broker.hold("attach")
        client = chats.one.resume(first.session if known else "s_of_nobody")
        client.ask("m2")
        client.go()
        chats.one.broker.release()
        await chats.settle()
        assert (client.frames, client.connection.session, len(chats.one.hub)) == ([], None, 1)
        assert list(chats.one.hub._sessions) == [first.session]
        assert not chats.one.hub._sessions[first.session].line.holds("m2")


async def test_a_socket_that_has_emptied_is_not_blocked() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.writer.fill()
        run.say("b")
        await chats.settle()
        assert client.connection.outbox.blocked_at == chats.clock.now()
        client.writer.drain()
        assert client.connection.outbox.blocked_at is None
