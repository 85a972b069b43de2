"""How a reply ended is stored before its terminal is sent."""

import asyncio

import msgspec
import pytest

from shared.broker import WorkerBroker
from shared.errors import ChatError
from shared.messages import Cursor, Delta, Done, Event, Failed, Refusal, Started, decode_events, text_sha256
from shared.request import GenerationRequest, Turn, encode_request
from shared.store import Answer
from tests.conftest import FakeClock
from tests.contracts.stores import question, session
from tests.memory_store import MemoryStore
from tests.worker.fakes import HandBroker, HandEngine, lease, turns
from tests.worker.test_flusher import Owner
from worker import keeping
from worker.flusher import Flusher
from worker.run import Run

STORED = encode_request(GenerationRequest((Turn("user", "Hello"),), stored=True))
PAUSE = 0.01


class Scene:
    """A run whose message is stored, before a broker that takes all, unless it is not `easy`."""

    def __init__(self, clock: FakeClock, *, easy: bool = True, **fields: object) -> None:
        self.clock = clock
        self.store = MemoryStore()
        self.broker = HandBroker(easy=easy)
        self.owner = Owner()
        typed: WorkerBroker = self.broker
        self.flusher = Flusher(typed, clock, self.owner, self.store)
        self.engine = HandEngine(continues=True)
        self.run = Run(lease(1, **({"request": STORED} | fields)), self.engine, self.flusher, clock)

    async def begun(self) -> "Scene":
        """The message is in the store, the engine has started."""
        await self.store.open(session("s_1"))
        await self.store.ask(question("m1", of="s_1"))
        self.store.calls.clear()
        self.run.begin()
        await turns()
        return self

    @property
    def events(self) -> list[Event]:
        """All that were appended."""
        return [event for flush in self.broker.flushes for event in decode_events(flush.events)]

    @property
    def last(self) -> Cursor:
        """That of the last event that was appended."""
        flush, lease = self.broker.flushes[-1], self.run.lease
        return Cursor(lease.generation, lease.attempt, flush.first + flush.count - 1, lease.nonce)

    async def answer(self) -> Answer | None:
        """What is stored."""
        turn = await self.store.turn("s_1", "m1")
        assert turn is not None
        return turn.answer

    async def pause(self) -> None:
        """Until the store is tried again."""
        await asyncio.sleep(PAUSE * 2)
        await turns()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "AGAIN", PAUSE)


async def test_the_end_is_stored_before_it_is_sent(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.held = True
    scene.run.piece("Hel")
    await turns()
    scene.run.piece("lo")
    scene.run.finish("stop")
    await turns()

    assert scene.events == [Started("hand"), Delta("Hel")]
    stored = await scene.answer()
    assert stored is not None

    scene.store.release()
    await turns()
    assert scene.events[2] == Delta("lo")
    assert stored.end == scene.events[-1]
    assert (stored.text, stored.model, stored.cursor.position) == ("Hello", "hand", (7, 1, 3))
    assert stored.cursor == scene.last
    assert isinstance(stored.end, Done)
    assert stored.end.text_sha256 == text_sha256("Hello")
    assert scene.owner.over == [scene.run]


async def test_a_message_that_is_not_stored_costs_nothing(clock: FakeClock) -> None:
    scene = Scene(clock, request=lease().request)
    scene.run.begin()
    scene.run.piece("Hi")
    scene.run.finish("stop")
    await turns()

    assert isinstance(scene.events[-1], Done)
    assert scene.store.calls == []


async def test_an_error_is_stored_with_the_text_that_there_is(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.run.piece("part")
    scene.run.fail(ChatError("Broken."))
    await turns()

    stored = await scene.answer()
    assert stored is not None
    assert (stored.text, stored.end) == ("part", Failed("internal", "Broken.", True))


async def test_a_takeover_stores_the_whole(clock: FakeClock) -> None:
    scene = await Scene(clock, attempt=2, text="Hel", visible=True).begun()
    scene.run.piece("lo")
    scene.run.finish("stop")
    await turns()

    stored = await scene.answer()
    assert stored is not None
    assert (stored.text, stored.attempt) == ("Hello", 2)


async def test_pieces_go_on_while_the_store_is_away_and_the_terminal_waits(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.away = True
    scene.run.piece("Hello")
    scene.run.finish("stop")
    await turns()

    assert scene.events == [Started("hand"), Delta("Hello")]
    assert scene.run.patience(clock.now()) > 0  # its lease is renewed
    await scene.pause()
    assert scene.events == [Started("hand"), Delta("Hello")]

    scene.store.away = False
    await scene.pause()
    stored = await scene.answer()
    assert stored is not None
    assert scene.events[2:] == [stored.end]
    assert stored.cursor == scene.last
    assert scene.owner.over == [scene.run]


async def test_a_store_that_stays_away_makes_it_an_error(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.away = True
    scene.run.piece("Hello")
    scene.run.finish("stop")
    await turns()
    clock.advance(keeping.LONGEST)
    await scene.pause()

    assert scene.events[2:] == [Failed("internal", keeping.NOT_STORED, True)]
    assert scene.owner.over == [scene.run]
    assert scene.store.calls.count("answer") == 2


async def test_a_cancel_that_comes_before_the_terminal_is_what_is_stored(clock: FakeClock) -> None:
    scene = await Scene(clock, easy=False).begun()
    scene.broker.store()
    scene.run.piece("Hel")
    await turns()
    scene.broker.store()
    scene.run.piece("lo")
    scene.run.finish("stop")
    await turns()
    scene.broker.refuse(Refusal(0, "cancelled", 5))  # the user was quicker
    await turns()

    stored = await scene.answer()
    assert stored is not None
    assert isinstance(stored.end, Done)
    assert (stored.end.finish_reason, stored.text) == ("cancelled", "Hel")
    assert decode_events(scene.broker.flushes[-1].events) == [stored.end]
    scene.broker.store()
    await turns()
    assert scene.owner.over == [scene.run]


@pytest.mark.parametrize("quicker", ["the user", "the engine"])
async def test_a_cancel_while_the_end_is_being_stored(clock: FakeClock, quicker: str) -> None:
    """Of a run one item at a time is on its way: what the broker says to the first decides whether there is another."""
    scene = await Scene(clock, easy=False).begun()
    scene.broker.store()
    scene.store.held = True
    scene.run.piece("Hello")
    scene.run.finish("stop")
    await turns()
    scene.run.cancel(3)
    await turns()
    scene.store.release()
    await turns()
    assert [len(items) for items in scene.broker.appends] == [1, 1]
    if quicker == "the user":
        scene.broker.refuse(Refusal(0, "cancelled", 5))
        await turns()
    scene.broker.store()
    await turns()

    stored = await scene.answer()
    assert stored is not None
    assert isinstance(stored.end, Done)
    expected = ("cancelled", "") if quicker == "the user" else ("stop", "Hello")
    assert (stored.end.finish_reason, stored.text) == expected
    assert decode_events(scene.broker.flushes[-1].events)[-1] == stored.end
    assert scene.owner.over == [scene.run]
    assert scene.store.calls.count("answer") == (2 if quicker == "the user" else 1)


async def test_a_cancel_while_the_store_is_away(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.away = True
    scene.run.piece("Hello")
    scene.run.finish("stop")
    await turns()
    scene.run.cancel(3)
    await turns()
    assert scene.events == [Started("hand"), Delta("Hello")]

    scene.store.away = False
    await scene.pause()
    stored = await scene.answer()
    assert stored is not None
    assert isinstance(stored.end, Done)
    assert (stored.end.finish_reason, stored.text) == ("cancelled", "Hello")


async def test_one_that_is_lost_while_it_is_stored_is_not_sent(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.held = True
    scene.run.piece("Hello")
    scene.run.finish("stop")
    await turns()
    scene.run.abort()
    scene.store.release()
    await turns()

    assert scene.events == [Started("hand")]


async def test_a_worker_that_was_thought_dead_changes_nothing(clock: FakeClock) -> None:
    """It stored how it ended and died before it could say so, or so it seemed: the next attempt is what clients saw."""
    zombie = await Scene(clock, easy=False).begun()
    zombie.broker.store()
    zombie.run.piece("Hel")
    await turns()
    zombie.broker.store()
    successor = Scene(clock, attempt=2, text="Hel", visible=True)
    successor.store = zombie.store
    successor.flusher._keeper._store = zombie.store  # type: ignore[union-attr]
    zombie.store.held = True
    zombie.run.finish("stop")
    await turns()
    zombie.store.release()

    successor.run.begin()
    successor.run.piece("lo!")
    successor.run.finish("stop")
    await turns()
    zombie.run.piece("nothing of this")
    late = zombie.run.answer(zombie.broker.flushes[-1], 0)
    await zombie.store.answer(msgspec.structs.replace(late, text="a zombie's"))

    stored = await zombie.answer()
    assert stored is not None
    assert (stored.text, stored.attempt) == ("Hello!", 2)
    assert stored.end == successor.events[-1]


async def test_rest_waits_for_the_store(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.away = True
    scene.run.piece("Hello")
    scene.run.finish("stop")
    await turns()
    resting = asyncio.ensure_future(scene.flusher.rest())
    await turns()
    assert not resting.done()

    scene.store.away = False
    await resting
    assert isinstance(scene.events[-1], Done)


async def test_nothing_is_sent_behind_the_end(clock: FakeClock) -> None:
    scene = await Scene(clock).begun()
    scene.store.held = True
    scene.run.finish("stop")
    await turns()
    scene.flusher.close()
    scene.store.release()
    await scene.pause()

    assert scene.events == [Started("hand")]
