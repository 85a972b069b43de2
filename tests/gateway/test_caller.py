"""Sessions belong to their owner."""

import pytest

from gateway.caller import NOBODY, Caller, caller_of
from gateway.protocol import JsonDialect
from tests.gateway.chatting import Client, chatting


def test_without_authentication_everybody_is_nobody() -> None:
    assert caller_of({}) == NOBODY == Caller("", None)
    assert caller_of({"llm_chat.caller": Caller("ann", 5.0)}) == Caller("ann", 5.0)


@pytest.mark.parametrize("gateway", [0, 1])
async def test_anothers_session_is_one_that_does_not_exist(gateway: int) -> None:
    async with chatting() as chats:
        hub = chats.gateways[0].hub
        ann = Client(hub, JsonDialect(), Caller("ann"))
        ann.ask("m1")
        await chats.settle()
        run = chats.worker.take_one()
        run.say("a")
        await chats.settle()

        for thief in (Caller("bob"), NOBODY):
            bob = Client(chats.gateways[gateway].hub, JsonDialect(), thief)
            bob.send("resume", session_id=ann.session)
            bob.send("cancel", id="m1")
            await chats.settle()
            assert [frame["code"] for frame in bob.frames] == ["session_not_found", "unknown_id"]

        again = Client(chats.gateways[gateway].hub, JsonDialect(), Caller("ann"))
        again.send("resume", session_id=ann.session)
        run.done("b")
        await chats.settle()
        assert again.frames[1:] == ann.events
        assert ann.types()[-1] == "done"
        assert len(ann.events) == 4
