"""Rights that end while their connection is open."""

import pytest

from gateway.caller import NOBODY, Caller
from gateway.patience import Patience
from gateway.protocol import JsonDialect
from tests.conftest import FakeClock
from tests.gateway.chatting import Chats, Client, chatting

GOOD = {"k"}
GUARDED = Patience(keys=lambda: GOOD)


@pytest.fixture(autouse=True)
def _good_again() -> None:
    GOOD.clear()
    GOOD.add("k")


def client(chats: Chats, expires_in: float | None = None, key: str = "") -> Client:
    expires_at = None if expires_in is None else chats.clock.wall_ms() / 1000 + expires_in
    return Client(chats.one.hub, JsonDialect(), Caller("ann", expires_at, key))


async def test_a_socket_ends_when_its_right_expires_and_the_reply_goes_on() -> None:
    async with chatting(patience=GUARDED) as chats:
        ann, other, endless = client(chats, 60), client(chats, 90), client(chats)
        ann.ask("m1")
        await chats.settle()
        run = chats.worker.take_one()
        run.say("a")
        await chats.pass_time(59)
        assert ann.writer.closed is None

        await chats.pass_time(2)
        assert ann.writer.closed is not None
        assert ann.writer.closed[0] == 4401
        assert (other.writer.closed, endless.writer.closed) == (None, None)
        had = len(ann.frames)
        ann.ask("m2")
        ann.send("cancel", id="m1")
        run.say("b")
        await chats.settle()
        assert len(ann.frames) == had
        ann.go()

        again = client(chats, 600)
        again.send("resume", session_id=ann.session, after=ann.events[-1]["cursor"])
        run.done("c")
        await chats.settle()
        assert again.text("m1") == "bc"
        assert [frame["id"] for frame in again.events] == ["m1"] * len(again.events)


async def test_a_socket_ends_when_its_key_is_revoked() -> None:
    async with chatting(patience=GUARDED) as chats:
        ann, by_token = client(chats, key="k"), client(chats, 600)
        await chats.pass_time(5)
        assert ann.writer.closed is None
        GOOD.clear()
        await chats.pass_time(1)
        assert ann.writer.closed is not None
        assert ann.writer.closed[0] == 4401
        assert by_token.writer.closed is None


async def test_one_that_comes_just_behind_the_revocation_is_found_too() -> None:
    async with chatting(patience=GUARDED) as chats:
        GOOD.clear()
        await chats.pass_time(3)
        late = client(chats, key="k")
        await chats.pass_time(1)
        assert late.writer.closed is not None


async def test_it_is_the_calendar_that_counts() -> None:
    clock = FakeClock()
    async with chatting(clock, patience=GUARDED) as chats:
        ann = client(chats, 3600)
        clock.set_wall(clock.wall_ms() + 3_600_000)
        await chats.pass_time(1)
        assert ann.writer.closed is not None


async def test_a_reader_that_does_not_read_is_no_exception() -> None:
    async with chatting(patience=Patience(send=0, keys=lambda: GOOD)) as chats:
        ann = client(chats, 10)
        ann.ask("m1")
        await chats.settle()
        ann.writer.fill()
        chats.worker.take_one().say("a")
        await chats.pass_time(11)
        assert ann.writer.closed is not None
        assert ann.writer.closed[0] == 4401


async def test_without_authentication_nothing_expires() -> None:
    async with chatting() as chats:
        nobody = Client(chats.one.hub, JsonDialect(), NOBODY)
        await chats.pass_time(100)
        assert nobody.writer.closed is None
