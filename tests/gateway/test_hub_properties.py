"""The rules of the protocol, 1 to 5, under whatever may come together: slow readers, lost batches, links and memories,
readers that leave and come back, answers that come late, workers that die."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from gateway.outbox import ROOM
from gateway.paging import PAGE_BYTES
from gateway.patience import Patience
from gateway.protocol import JsonDialect
from shared.messages import Cursor, text_sha256
from tests.gateway.chatting import Chats, Client, Frame, Gateway, chatting, turns
from tests.gateway.writing import Run, Worker

HOLDABLE = ("submit", "attach", "read", "cancel", "newest")
REPLY = 5  # pieces at most in one flush


@dataclass(eq=False, repr=False)
class Reader:
    """Someone who reads a session over one connection after another, as docs/protocol.md advises.

    `have`: the events it holds. `start`: the connection on which they begin was the first, or came without a cursor.
    """

    tag: str  # of its session: no message of another begins with it
    session: str = ""
    client: Client | None = None
    have: list[Frame] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)  # asked for the first time, on this very connection: no answer yet
    repeated: set[str] = field(default_factory=set)  # sent by others, too: so it may begin before it is accepted here
    accepted: set[str] = field(default_factory=set)  # and neither ended nor lost
    promised: set[str] = field(default_factory=set)  # ever accepted
    over: bool = False  # its session is gone
    failed: bool = False  # its resume found no broker

    def handle(self, frame: Frame) -> None:
        """One frame, in order."""
        getattr(self, "on_" + ("event" if "cursor" in frame else frame["type"]))(frame)

    def on_session(self, frame: Frame) -> None:
        assert self.session in ("", frame["session_id"])
        self.session = frame["session_id"]
        self.accepted &= set(frame["open"])  # what is not in it ends in the replay or is lost
        if not frame["recovered"]:
            self.forget()

    def forget(self) -> None:
        """What was there is gone, or not wanted; what is kept comes anew."""
        self.have.clear()
        self.ended.clear()

    def on_accepted(self, frame: Frame) -> None:
        self.waiting.discard(frame["id"])
        self.promised.add(frame["id"])
        if frame["id"] not in self.ended:
            self.accepted.add(frame["id"])

    def on_queued(self, frame: Frame) -> None:
        assert all(event["id"] != frame["id"] for event in self.have), "behind its start"

    def on_pong(self, frame: Frame) -> None:
        raise AssertionError("nobody has sent a ping")

    def on_error(self, frame: Frame) -> None:
        assert frame["code"] in ("busy", "unknown_id", "session_not_found", "broker_unavailable")
        if frame["code"] in ("busy", "broker_unavailable") and "id" in frame:
            self.waiting.discard(frame["id"])
        elif frame["code"] == "session_not_found":
            self.over = True
        elif frame["code"] == "broker_unavailable":
            self.failed = True

    def on_event(self, frame: Frame) -> None:
        id, position = frame["id"], Cursor.parse(frame["cursor"]).position
        assert id.startswith(self.tag), "of another session"
        assert not self.have or position > Cursor.parse(self.have[-1]["cursor"]).position, "not in order, or twice"
        assert id not in self.ended, "behind its terminal"
        assert id not in self.waiting - self.repeated, "before its acceptance"
        self.have.append(frame)
        if frame["type"] in ("done", "error"):
            self.ended.add(id)
            self.accepted.discard(id)
            self.check_text(id, frame)

    def check_text(self, id: str, terminal: Frame) -> None:
        """The reply that it holds is the one that the terminal is about."""
        text = ""
        for frame in self.have:
            if frame["id"] == id:
                text = "" if frame.get("exact") is False else text + frame.get("text", "")
        assert terminal["type"] == "error" or terminal["text_sha256"] == text_sha256(text)


class Walk(RuleBasedStateMachine):
    """Two gateways, two sessions, three readers, a worker."""

    forgetful = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.context = chatting(patience=Patience(send=8.0))
        self.chats: Chats = self.loop.run_until_complete(self.context.__aenter__())
        self.readers = [Reader("ada "), Reader("ada "), Reader("bob ")]
        self.careful = Worker(self.chats.memory, "careful", alone=True)  # for what crashed its worker twice
        self.runs: list[Run] = []
        self.asked: list[str] = []
        self.cancelled: set[str] = set()
        self.words = 0
        self.known: dict[str, Frame] = {}  # by cursor: what any reader has ever seen there
        self.sound = True
        self.begin(self.readers[0])
        self.begin(self.readers[2])
        self.readers[1].session = self.readers[0].session
        self.come_back(self.readers[1], self.chats.other, from_cursor=False)

    def do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """A step, and what its callbacks do; then every reader reads."""
        self.sound = False
        self.loop.run_until_complete(coroutine)
        for reader in self.readers:
            self.read(reader)
        self.sound = True

    def act(self, *actions: Callable[[], object]) -> None:
        """Steps within the event loop."""

        async def step() -> None:
            for action in actions:
                action()
            await turns()

        self.do(step())

    def read(self, reader: Reader) -> None:
        if reader.client is None:
            return
        for frame in reader.client.new():
            reader.handle(frame)
            if reader.over or reader.failed:
                break  # what it had asked for already is in a session of its own now
            if "cursor" in frame:
                assert self.known.setdefault(frame["cursor"], frame) == frame, "a replay that is not what was live"
                assert frame.get("finish_reason") != "cancelled" or frame["id"] in self.cancelled
        writer = reader.client.writer
        assert writer.most_unsent <= ROOM + PAGE_BYTES
        assert writer.closed in (None, (4408, "reader too slow"))
        if writer.closed is not None or reader.over or reader.failed:
            reader.failed = False
            self.loop.run_until_complete(self.hang_up(reader))

    async def hang_up(self, reader: Reader) -> None:
        if reader.client is not None:
            reader.client.go()
            reader.client = None
            await turns()

    def begin(self, reader: Reader) -> None:
        async def step() -> None:
            reader.client = self.chats.one.client()
            reader.client.send("start")
            await self.chats.settle()

        self.do(step())

    # --- readers -----------------------------------------------------------------------------------------------------

    connected = precondition(lambda self: any(reader.client for reader in self.readers))

    def pick(self, data: st.DataObject, *, connected: bool = True) -> Reader | None:
        found = [one for one in self.readers if (one.client is not None) == connected and not one.over]
        return found[data.draw(st.integers(0, len(found) - 1), "reader")] if found else None

    def gateway(self, data: st.DataObject) -> Gateway:
        return self.chats.gateways[data.draw(st.integers(0, 1), "gateway")]

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        reader = self.pick(data)
        if reader is None or reader.client is None:
            return
        id = f"{reader.tag}{len(self.asked)}"
        self.asked.append(id)
        reader.waiting.add(id)
        self.act(partial(reader.client.ask, id))

    @rule(data=st.data(), cancel=st.booleans())
    def name_an_id_again(self, data: st.DataObject, cancel: bool) -> None:
        reader = self.pick(data)
        if reader is None or reader.client is None:
            return
        ids = [id for id in self.asked if id.startswith(reader.tag)]
        id = data.draw(st.sampled_from([*ids[-4:], f"{reader.tag}of nobody"]))
        if cancel:
            self.cancelled.add(id)
            self.act(partial(reader.client.send, "cancel", id=id))
        elif id in ids:
            for one in self.readers:
                one.repeated.add(id)
            self.act(partial(reader.client.ask, id))

    @rule(data=st.data(), lined=st.integers(2, 9))
    def ask_many(self, data: st.DataObject, lined: int) -> None:
        for _ in range(lined):
            self.ask(data)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        reader = self.pick(data)
        if reader is not None:
            self.do(self.hang_up(reader))

    @rule(data=st.data(), from_cursor=st.sampled_from([True, True, True, False]))
    def return_(self, data: st.DataObject, from_cursor: bool) -> None:
        reader = self.pick(data, connected=False)
        if reader is not None:
            self.come_back(reader, self.gateway(data), from_cursor=from_cursor)

    def come_back(self, reader: Reader, gateway: Gateway, *, from_cursor: bool) -> None:
        async def step() -> None:
            reader.waiting.clear()
            if not (from_cursor and reader.have):
                reader.forget()
            reader.client = gateway.resume(reader.session, reader.have[-1]["cursor"] if reader.have else None)
            await turns()

        self.do(step())

    @rule(data=st.data(), read=st.booleans())
    def be_slow(self, data: st.DataObject, read: bool) -> None:
        reader = self.pick(data)
        if reader is None or reader.client is None:
            return
        self.act(reader.client.writer.drain if read else reader.client.writer.fill)

    # --- the worker --------------------------------------------------------------------------------------------------

    @rule()
    def take(self) -> None:
        self.act(lambda: self.runs.extend(self.chats.worker.take()))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), pieces=st.integers(1, REPLY), end=st.booleans(), exact=st.booleans())
    def write(self, data: st.DataObject, pieces: int, end: bool, exact: bool) -> None:
        """Any run, also one whose lease is over: then the broker refuses it."""
        run = self.runs[-1 - data.draw(st.integers(0, min(3, len(self.runs) - 1)), "run")]

        def flush() -> None:
            refused = run.say(*(self.piece() for _ in range(pieces)), exact=exact)
            if refused and refused[0].reason == "cancelled":
                run.done(reason="cancelled")
            elif end:
                run.done()

        self.act(flush)

    def piece(self) -> str:
        self.words += 1
        return f"{self.words} " * (1500 if self.words % 11 == 0 else 1)

    @rule()
    def die(self) -> None:
        self.act(self.chats.worker.die)

    # --- the ways between --------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def pull(self, data: st.DataObject) -> None:
        self.act(self.gateway(data).pull)

    @rule(data=st.data(), said=st.booleans())
    def lose_a_batch(self, data: st.DataObject, said: bool) -> None:
        gateway = self.gateway(data)
        self.act(lambda: gateway.lose() if gateway.batch().lost or said else None)

    @rule(data=st.data(), methods=st.sets(st.sampled_from(HOLDABLE), min_size=1))
    def hold(self, data: st.DataObject, methods: set[str]) -> None:
        self.gateway(data).broker.hold(*methods)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.act(self.gateway(data).broker.release)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.do(self.chats.pass_time(seconds))

    # --- the end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.sound:
                self.heal()
                self.check()
                self.do(self.go())
        finally:
            self.loop.run_until_complete(self.context.__aexit__(None, None, None))
            self.loop.close()

    def heal(self) -> None:
        """Nothing is held back, everyone reads, all replies are written to their ends."""
        writers = [reader.client.writer for reader in self.readers if reader.client is not None]
        self.act(*(gateway.broker.release for gateway in self.chats.gateways), *(one.drain for one in writers))
        self.do(self.chats.settle())
        for reader in self.readers:
            if reader.client is None and not reader.over:
                self.come_back(reader, self.chats.one, from_cursor=True)
        for _ in range(len(self.asked) + 3):
            self.act(self.finish)
            self.do(self.chats.settle())
            self.do(self.chats.pass_time(1.0))
            if not any(reader.waiting or reader.accepted for reader in self.readers):
                break

    def finish(self) -> None:
        for run in [*self.runs, *self.chats.worker.take(), *self.careful.take()]:
            run.done("the end")
            run.done(reason="cancelled")
        self.runs.clear()

    def check(self) -> None:
        """Every reader holds what the broker keeps, and nothing that was asked for is without an answer."""
        dialect = JsonDialect()
        for reader in self.readers:
            if reader.over:
                continue
            assert not reader.waiting, "neither accepted nor refused"
            assert not reader.accepted, "accepted, but never ended"
            assert self.forgetful or reader.promised <= reader.ended
            stored = [frame for item in self.chats.stored(reader.session) for frame in dialect.events(item, 0)]
            assert reader.have == [json.loads(payload) for payload in stored]

    async def go(self) -> None:
        """G11: nothing is left of readers that have gone."""
        for reader in self.readers:
            await self.hang_up(reader)
        await self.chats.settle()
        self.chats.check_nothing_left()


class ForgetfulWalk(Walk):
    """The same with a broker that loses its memory, too."""

    forgetful = True

    @rule()
    def lose_memory(self) -> None:
        self.runs.clear()
        self.act(self.chats.lose_memory)


COMMON = settings(
    report_multiple_bugs=False, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestWalk = Walk.TestCase
TestWalk.settings = settings(COMMON, max_examples=80, stateful_step_count=40)
TestForgetfulWalk = ForgetfulWalk.TestCase
TestForgetfulWalk.settings = settings(COMMON, max_examples=60, stateful_step_count=40)
