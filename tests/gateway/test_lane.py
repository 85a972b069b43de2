"""The short way of a session's further pieces to its only reader: when it is taken, when it is left, and that nobody
can tell by what arrives."""

from types import SimpleNamespace

from gateway.live import LiveSession
from gateway.outbox import Outbox
from gateway.protocol import JsonDialect
from shared.messages import Cursor, Delta, Flag, Item, encode_events
from tests.gateway.chatting import Chats, Client, FakeWriter, chatting, turns


def item(index: int, *, first: int | None = None, end: bool = False) -> Item:
    """One event, the first of the attempt where `index` is 0."""
    flags = int(Flag.TERMINAL) if end else 0
    seq = index if first is None else first
    return Item("s_1", 7, 1, "00c0ffee", "m7", seq, 1, flags, encode_events([Delta("a")]), index)


def cursor(seq: int) -> Cursor:
    return Cursor(7, 1, seq, "00c0ffee")


class Scene:
    """A session of so many readers, to whom items come as the hub brings them."""

    def __init__(self, readers: int = 1) -> None:
        self.session = LiveSession("s_1", "", None, None)
        self.outboxes = [Outbox(JsonDialect(), FakeWriter(), lambda _: None) for _ in range(readers)]
        for outbox in self.outboxes:
            outbox.live = True
            self.session.connections += (SimpleNamespace(outbox=outbox),)  # type: ignore[operator]

    def bring(self, item: Item) -> None:
        """The usual way."""
        self.session.note(item)
        for outbox in self.outboxes:
            outbox.offer(item)
        self.session.take_lane()

    def follow(self, item: Item) -> None:
        """The short one."""
        assert self.session.lane is not None
        assert self.session.lane.follow(item)


# --- taking and leaving it ------------------------------------------------------------------------------------------


def test_the_only_reader_that_has_all_that_was_drained_gets_it() -> None:
    scene = Scene()
    scene.session.take_lane()
    scene.bring(item(0))
    assert scene.session.lane is scene.outboxes[0]


def test_where_several_read_nobody_gets_it() -> None:
    scene = Scene(2)
    scene.bring(item(0))
    assert scene.session.lane is None


def test_who_is_behind_does_not_get_it() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.bring(item(2))
    assert not scene.outboxes[0].live
    assert scene.session.lane is None


def test_behind_what_is_held_back_there_is_no_short_way() -> None:
    scene = Scene()
    scene.session._held = (item(1),)
    scene.bring(item(0))
    assert scene.session.lane is None


def test_what_went_the_short_way_has_been_drained() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.follow(item(1))
    scene.follow(item(2))
    assert (scene.session.after, scene.session.newest) == (cursor(2), 2)
    scene.session.leave_lane()
    assert scene.session.lane is None
    assert (scene.session.after, scene.session.newest) == (cursor(2), 2)
    scene.session.take_lane()
    assert scene.session.lane is scene.outboxes[0]


def test_more_may_be_known_than_has_gone_the_short_way() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.session.know(5)
    scene.follow(item(1))
    assert (scene.session.newest, scene.session.after) == (5, cursor(1))
    scene.session.leave_lane()
    assert (scene.session.newest, scene.session.after) == (5, cursor(1))


def test_what_goes_the_short_way_is_heard() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.session.look(5.0)
    scene.follow(item(1))
    scene.session.look(6.0)
    scene.session.look(7.0)
    assert scene.session.heard_at == 6.0


def test_the_terminal_leaves_it() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.follow(item(1))
    scene.session.note(item(2, end=True))
    assert scene.session.lane is None
    assert (scene.session.after, scene.session.newest, scene.session.open) == (cursor(2), 2, [])


def test_what_comes_again_changes_nothing() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.follow(item(1))
    for again in (item(0), item(1)):
        assert not scene.outboxes[0].follow(again)
        scene.bring(again)
        assert (scene.session.after, scene.session.newest) == (cursor(1), 1)
    assert scene.session.lane is scene.outboxes[0]
    scene.follow(item(2))
    assert scene.session.after == cursor(2)


def test_a_loss_leaves_it_and_forgets_the_position() -> None:
    scene = Scene()
    scene.bring(item(0))
    scene.follow(item(1))
    assert scene.session.forget()
    assert scene.session.lane is None
    assert (scene.session.after, scene.session.newest) == (None, -1)


# --- in the hub -----------------------------------------------------------------------------------------------------


def lane(chats: Chats, client: Client) -> Outbox | None:
    return chats.one.hub._sessions[client.session].lane


def check_all_arrived(chats: Chats, *clients: Client) -> None:
    """Each has exactly what is stored, once and in order."""
    dialect = JsonDialect()
    stored = [frame for item in chats.stored(clients[0].session) for frame in dialect.events(item, 0)]
    for client in clients:
        held = [payload for write in client.writer.writes for payload in write if b'"cursor"' in payload]
        assert held == stored


async def test_a_usual_reply_goes_the_short_way() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        assert lane(chats, client) is client.connection.outbox
        run.say("b")
        run.say("c", "d")
        chats.one.pull()
        assert lane(chats, client) is client.connection.outbox
        assert client.text("m1") == "abcd"
        run.done()
        chats.one.pull()
        assert lane(chats, client) is None
        check_all_arrived(chats, client)


async def test_a_second_reader_comes_and_goes() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        chats.one.pull()
        other = chats.one.resume(client.session)
        await chats.settle()
        assert lane(chats, client) is None
        run.say("c")
        chats.one.pull()
        assert lane(chats, client) is None
        check_all_arrived(chats, client, other)
        other.go()
        run.say("d")
        chats.one.pull()
        assert lane(chats, client) is client.connection.outbox
        run.say("e")
        run.done()
        chats.one.pull()
        check_all_arrived(chats, client)


async def test_a_second_reader_that_has_everything_already_gets_what_follows() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        other = chats.one.resume(client.session, client.events[-1]["cursor"])
        await chats.settle()
        run.say("b")
        chats.one.pull()
        assert [frame["text"] for frame in other.events] == ["b"]
        check_all_arrived(chats, client)


async def test_who_has_gone_gets_nothing_more_while_somebody_joins() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        chats.one.broker.hold("attach")
        other = chats.one.resume(client.session)
        await turns()
        client.go()
        before = len(client.writer.writes)
        run.say("b")
        chats.one.pull()
        assert len(client.writer.writes) == before
        chats.one.broker.release()
        await chats.settle()
        check_all_arrived(chats, other)


async def test_the_first_reader_goes_and_the_second_one_has_the_short_way() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        other = chats.one.resume(client.session)
        await chats.settle()
        client.go()
        run.say("b")
        chats.one.pull()
        assert lane(chats, other) is other.connection.outbox
        run.say("c")
        other.go()
        assert chats.one.hub._sessions == {}
        third = chats.one.resume(client.session, other.events[-1]["cursor"])
        await chats.settle()
        assert [frame["text"] for frame in third.events] == ["c"]


async def test_a_gap_on_the_short_way_is_closed() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        chats.one.batch()  # which nobody gets
        run.say("c")
        await chats.settle()
        check_all_arrived(chats, client)
        assert chats.one.broker.calls.count("read") == 1


async def test_a_silent_loss_on_the_short_way_is_found() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        chats.one.batch()
        await chats.pass_time(3)
        check_all_arrived(chats, client)


async def test_a_lost_subscription_is_renewed_at_the_position_of_the_short_way() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        chats.one.pull()
        chats.one.lose()
        run.say("c")
        await chats.settle()
        run.say("d")
        await chats.settle()
        check_all_arrived(chats, client)
        assert lane(chats, client) is client.connection.outbox
        assert "read" not in chats.one.broker.calls  # the answer to the attach had it all


async def test_a_new_epoch_on_the_short_way_begins_anew() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        await chats.settle()
        client.new()
        chats.lose_memory()
        await chats.settle()
        (lost,) = client.new()
        assert (lost["type"], lost["recovered"]) == ("session", False)
        assert lane(chats, client) is None
        client.ask("m2")
        await chats.settle()
        run = chats.worker.take_one()
        for text in "cd":
            run.say(text)
            await chats.settle()
        assert lane(chats, client) is client.connection.outbox
        assert client.text("m2") == "cd"


async def test_a_takeover_goes_the_usual_way_and_what_follows_it_the_short_one() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        run.say("b")
        chats.one.pull()
        chats.worker.die()
        heir = chats.worker.take_one()
        for exact, text in ((False, "c"), (True, "d")):
            heir.say(text, exact=exact)
            chats.one.pull()
            assert lane(chats, client) is client.connection.outbox
        assert chats.one.hub._sessions[client.session].after == chats.stored(client.session)[-1].cursor
        check_all_arrived(chats, client)


async def test_a_reader_that_gets_slow_on_the_short_way_misses_nothing() -> None:
    async with chatting() as chats:
        client, run = await chats.chat("m1", "a")
        client.writer.fill()
        for text in "bcd":
            run.say(text)
            chats.one.pull()
        assert not client.connection.outbox.live
        assert client.text("m1") == "ab"
        client.writer.drain()
        await chats.settle()
        run.say("e")
        await chats.settle()
        check_all_arrived(chats, client)
        assert lane(chats, client) is client.connection.outbox
