"""With the short way and without it a gateway does exactly the same: what it writes, what it asks the broker, what it
knows. Whatever comes together."""

import asyncio
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import hypothesis.strategies as st
from hypothesis import given, settings

from gateway.live import LiveSession
from shared.messages import Cursor
from tests.gateway.chatting import Chats, Client, Frame, chatting, turns
from tests.gateway.writing import Run

READERS = st.sampled_from([0, 0, 0, 1, 2])
STEPS = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 3)),
    *[st.tuples(st.just("flow"), st.integers(1, 4))] * 6,
    st.tuples(st.just("takeover"), st.booleans()),
    st.tuples(st.just("end"), st.booleans()),
    st.tuples(st.just("ask"), READERS),
    st.tuples(st.just("cancel"), READERS),
    *[st.tuples(st.just("join"), READERS)] * 2,
    st.tuples(st.just("leave"), READERS),
    st.tuples(st.just("fill"), READERS),
    st.tuples(st.just("drain"), READERS),
    st.tuples(st.just("pull"), st.none()),
    st.tuples(st.just("drop"), st.booleans()),
    st.tuples(st.just("hold"), st.sampled_from(["read", "attach", "submit", "newest"])),
    *[st.tuples(st.just("release"), st.none())] * 2,
    st.tuples(st.just("pass_time"), st.sampled_from([0.5, 1.0, 2.0])),
    st.tuples(st.just("lose_memory"), st.none()),
)


class Play:
    """One session on one gateway, three readers of it, and one worker that dies."""

    def __init__(self, chats: Chats, first: Client, run: Run) -> None:
        self.chats = chats
        self.session = first.session
        self.clients: list[Client] = [first]  # all that ever were
        self.readers: list[Client | None] = [first, None, None]
        self.run = run
        self.asked = 1
        self.words = 0

    async def do(self, step: str, argument: Any) -> None:
        """One step and its callbacks."""
        done = getattr(self, step)(argument)
        if done is not None:
            await done
        await turns()

    def say(self, pieces: int) -> None:
        """Of the newest run; a reply that was cancelled ends, and where there is none the next one is asked for."""
        texts = [f"{self.words + n} " * (900 if (self.words + n) % 7 == 0 else 1) for n in range(pieces)]
        self.words += pieces
        refusals = self.run.say(*texts)
        if refusals and refusals[0].reason == "cancelled":
            self.run.done(reason="cancelled")
        elif refusals:
            self.ask(next((place for place, client in enumerate(self.readers) if client is not None), 0))
        self.take()

    async def flow(self, flushes: int) -> None:
        """As most of the time: each flush is drained alone."""
        for _ in range(flushes):
            self.say(1)
            self.pull(None)
            await turns()

    def take(self) -> None:
        for run in self.chats.worker.take():
            self.run = run

    def takeover(self, exact: bool) -> None:
        self.chats.worker.die()
        self.take()
        self.run.say("again ", exact=exact)

    def end(self, text: bool) -> None:
        self.run.done(*(["the end"] if text else []))
        self.take()

    def ask(self, reader: int) -> None:
        client = self.readers[reader]
        if client is not None:
            self.asked += 1
            client.ask(f"m{self.asked}")

    def cancel(self, reader: int) -> None:
        client = self.readers[reader]
        if client is not None:
            client.send("cancel", id=f"m{self.asked}")

    def join(self, reader: int) -> None:
        """With what it has, where it has been here before."""
        if self.readers[reader] is None:
            before = [client for client in self.clients if client.events]
            after = before[-1].events[-1]["cursor"] if before and reader else None
            client = self.chats.one.resume(self.session, after)
            self.readers[reader] = client
            self.clients.append(client)

    def leave(self, reader: int) -> None:
        """And somebody comes, where nobody is left."""
        client, self.readers[reader] = self.readers[reader], None
        if client is not None:
            client.go()
        if not any(self.readers):
            self.join(0)

    def fill(self, reader: int) -> None:
        client = self.readers[reader]
        if client is not None:
            client.writer.fill()

    def drain(self, reader: int) -> None:
        client = self.readers[reader]
        if client is not None:
            client.writer.drain()

    def pull(self, _: None) -> None:
        self.chats.one.pull()

    def drop(self, said: bool) -> None:
        """A batch is lost, with or without a word."""
        if self.chats.one.batch().lost or said:
            self.chats.one.lose()

    def hold(self, method: str) -> None:
        self.chats.one.broker.hold(method)

    def release(self, _: None) -> None:
        self.chats.one.broker.release()

    async def pass_time(self, seconds: float) -> None:
        await self.chats.pass_time(seconds)

    async def lose_memory(self, _: None) -> None:
        self.chats.lose_memory()
        await self.chats.settle()
        self.say(1)

    # --- what it looks like ------------------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """All that can be told from outside, and what the hub knows; but for what is drawn by chance."""
        found: dict[str, Any] = {"calls": list(self.chats.one.broker.calls)}
        found["writes"] = [[named(payload) for payload in write] for one in self.clients for write in one.writer.writes]
        outboxes = [one.connection.outbox for one in self.clients]
        found["outboxes"] = [(place(box.after), box.next_index, box.live, box.reading) for box in outboxes]
        session = self.chats.one.hub._sessions.get(self.session)
        if session is not None:
            found["session"] = place(session.after), session.newest, session.heard_at, session.generation, session.open
        return found


def named(payload: bytes) -> Frame:
    """A frame without the session's name and the nonces."""
    frame: Frame = json.loads(payload)
    frame.pop("session_id", None)
    if "cursor" in frame:
        frame["cursor"] = place(Cursor.parse(frame["cursor"]))
    return frame


def place(cursor: Cursor | None) -> tuple[int, int, int] | None:
    return None if cursor is None else (cursor.generation, cursor.attempt, cursor.seq)


def play(steps: list[tuple[str, Any]], *, lanes: bool) -> list[dict[str, Any]]:
    """How it looks after each step."""

    async def run() -> list[dict[str, Any]]:
        async with chatting() as chats:
            stage = Play(chats, *await chats.chat("m1", "a"))
            looks = [stage.look()]
            for step, argument in steps:
                await stage.do(step, argument)
                looks.append(stage.look())
            return looks

    without = patch.object(LiveSession, "take_lane", lambda self: None)
    context: AbstractContextManager[object] = nullcontext() if lanes else without
    with context:
        return asyncio.run(run())


@given(st.lists(STEPS, min_size=10, max_size=40))
@settings(max_examples=150, deadline=None)
def test_nobody_can_tell_that_there_is_a_short_way(steps: list[tuple[str, Any]]) -> None:
    assert play(steps, lanes=True) == play(steps, lanes=False)
