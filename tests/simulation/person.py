"""Somebody who chats in the JSON dialect and does what docs/protocol.md advises: keeps the cursor, resumes anywhere,
asks again for what was refused or lost."""

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.protocol import JsonDialect
from tests.simulation.invariants import Frame, Transcript, content_of, parse, position
from tests.simulation.loop import Process
from tests.simulation.socket import Socket
from tests.simulation.stopping import Stopping
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

NO_ANSWER = 8.0  # seconds without a session, after which another connection is tried
STOPPED_AFTER = 0.3  # seconds from a cancel to the end of the reply
SLOW_TO_MOVE = 2.0  # seconds in which somebody leaves a gateway that goes away; it does not wait for so long
LOOKED_UP_AFTER = 10.0  # seconds without an end
LOST_AFTER = 3.0  # seconds in which the replay may still bring the end of what is not open any more


class Wish(NamedTuple):
    """Something that a person will do `at` so many seconds, for `seconds` if that takes time."""

    at: float
    what: str  # ask, change_mind, cancel, repeat, vanish, stop_reading
    seconds: float = 0.0


class Person:
    """`pending`: what was asked and has neither ended nor been given up."""

    def __init__(self, world: "World", name: str, tag: str, wishes: list[Wish], chance: Random) -> None:
        self.world = world
        self.name = name
        self.tag = tag
        self.process = Process(world.loop, name)
        self.lane = self.process.main
        self.transcript = Transcript(name, tag, world.records)
        self.stopping = Stopping(name)
        self.socket: Socket | None = None
        self.joined = False
        self.gone = False  # for good
        self.asked: list[str] = []
        self.pending: dict[str, None] = {}
        self.chance = chance
        self._wishes = len(wishes)
        self._sent: set[str] = set()  # ever, on any connection
        self._giving_up: asyncio.TimerHandle | None = None
        for wish in wishes:
            self._at(wish.at, self._do, wish)
        self._at(chance.random(), self._connect)

    def _at(self, moment: float, what: Callable[..., None], *args: Any) -> None:
        self.world.loop.post(self.lane, self.world.began_at + moment, what, *args)

    def _later(self, least: float, most: float, what: Callable[..., None], *args: Any) -> None:
        loop = self.world.loop
        loop.post(self.lane, loop.now + self.chance.uniform(least, most), what, *args)

    @property
    def finished(self) -> bool:
        """Whether it wants nothing more."""
        return not self._wishes and not self.pending and self.socket is not None and self.joined

    def waits_for(self) -> str:
        """For whoever wants to know why it has not finished."""
        where = "without a connection" if self.socket is None else "joined" if self.joined else "not joined"
        return f"{self.name} ({where}) waits for {list(self.pending)}, accepted {sorted(self.transcript.accepted)}"

    # --- wishes ------------------------------------------------------------------------------------------------------

    def _do(self, wish: Wish) -> None:
        self._wishes -= 1
        getattr(self, "_" + wish.what)(wish)

    def _ask(self, wish: Wish) -> None:
        id = f"{self.tag}-{len(self.asked)}"
        self.asked.append(id)
        self.pending[id] = None
        self._send_message(id)

    def _repeat(self, wish: Wish) -> None:
        """The same id again, whatever has become of it: it never runs twice."""
        if self.asked:
            self._send_message(self.chance.choice(self.asked[-3:]))

    def _change_mind(self, wish: Wish) -> None:
        """Ask, and soon cancel."""
        self._ask(wish)
        self._later(0.0, 0.5, self._stop, self.asked[-1])

    def _cancel(self, wish: Wish) -> None:
        asked = self._known_ids()
        if asked:
            self._stop(self.chance.choice(asked[-2:]))

    def _known_ids(self) -> list[str]:
        return self.asked

    def _stop(self, id: str) -> None:
        if self.joined:
            self.world.records.cancelled.add(id)
            self.stopping.stops(id)
            self._send("cancel", id=id)
            self._send("ping", nonce=id)
            if id in self.transcript.accepted and not self.world.faults:
                self._later(STOPPED_AFTER, STOPPED_AFTER, self._check_stopped, id, self.socket)

    def _check_stopped(self, id: str, socket: Socket) -> None:
        """Where nothing goes wrong a reply does not go on for long."""
        if socket is self.socket and not socket.stuck and id not in self.world.records.ended:
            raise Violation("cancel", f"{self.name} has cancelled {id}, which goes on")

    def _vanish(self, wish: Wish) -> None:
        """The network fails, or a person leaves: the socket breaks or is closed."""
        socket = self.socket
        if socket is not None:
            if self.chance.random() < 0.5:
                socket.cut()
            else:
                socket.leave()
                self._hang_up()
                self._later(0.0, wish.seconds, self._connect)

    def _stop_reading(self, wish: Wish) -> None:
        if self.socket is not None and self.joined:
            self.socket.stop_reading()
            self._later(wish.seconds, wish.seconds, self.socket.read_on)

    def leave(self) -> None:
        """For good."""
        self.gone = True
        if self.socket is not None:
            self.socket.leave()
            self._hang_up()

    # --- the connection ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self.socket is not None or self.gone:
            return
        gateway = self.world.some_gateway(self.chance)
        if gateway is None or not self._may_connect():
            self._later(0.1, 0.5, self._connect)
            return
        self.socket = Socket(gateway, self, JsonDialect(), self.world.network.delay, self.chance)
        self._expect_answer()

    def _may_connect(self) -> bool:
        return True

    def _expect_answer(self) -> None:
        self._forget_timer()
        loop = self.world.loop
        self._giving_up = loop.within(self.lane, loop.call_later, NO_ANSWER, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        if self.socket is not None:
            self.socket.leave()
            self._hang_up()
            self._connect()

    def _forget_timer(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _hang_up(self) -> None:
        self._forget_timer()
        self.socket = None
        self.joined = False
        self.transcript.hung_up()
        self.stopping = Stopping(self.name)

    def on_open(self, socket: Socket) -> None:
        """See Reader."""
        if socket is self.socket:
            self._join()

    def _join(self) -> None:
        if not self.transcript.session:
            self._send("start")
            return
        if self.chance.random() < 0.1:
            self.transcript.start_over()
        self.transcript.resumes()
        cursor = self.transcript.cursor
        after = {} if cursor is None else {"after": cursor}
        if cursor is not None and self.transcript.accepted:
            self.world.note("resumed in mid-reply")
        self._send("resume", session_id=self.transcript.session, **after)

    def on_end(self, socket: Socket, code: int) -> None:
        """See Reader."""
        if socket is self.socket:
            self.world.note(f"closed with {code}")
            self._hang_up()
            self._later(0.01, 1.5, self._connect)

    def _send(self, type: str, **fields: Any) -> None:
        if self.socket is not None:
            self.world.say(self.name, ">", {"type": type, **fields})
            self.socket.say(json.dumps({"type": type, **fields}))

    def _send_message(self, id: str) -> None:
        if not self.joined or self.socket is None:
            return  # it is sent when there is a session
        if id not in self._sent:
            self._sent.add(id)
            self.transcript.unanswered.add(id)
        self.stopping.asks(id)
        self._send("message", id=id, content=content_of(id))

    # --- frames ------------------------------------------------------------------------------------------------------

    def on_frame(self, socket: Socket, payload: bytes) -> None:
        """See Reader."""
        if socket is not self.socket:
            return
        self.world.loop.mark(payload)
        frame = parse(payload)
        self.world.say(self.name, "<", frame)
        self.transcript.handle(frame, payload)
        self.world.note(self.transcript.noted(frame))
        if frame.get("id") not in self.transcript.told:
            self.world.note(self.stopping.handle(frame))
        if "cursor" in frame:
            if frame["type"] in ("done", "error"):
                self.pending.pop(frame["id"], None)
        else:
            getattr(self, "_on_" + frame["type"])(frame)

    def _on_session(self, frame: Frame) -> None:
        self._forget_timer()
        self.joined = True
        for id in tuple(self.pending):
            if id in self.transcript.lost:
                self._lose(id)
            elif id in self.transcript.doubtful:
                self._later(LOST_AFTER, LOST_AFTER, self._doubt, id)
            elif id not in self.transcript.accepted or self.chance.random() < 0.1:
                self._send_message(id)

    def _doubt(self, id: str) -> None:
        """It was accepted, is not open, and the replay has not brought its end: it is lost."""
        if id in self.transcript.doubtful and id in self.pending:
            self._lose(id)

    def _lose(self, id: str) -> None:
        """Ask again, or do without."""
        if self.chance.random() < 0.7:
            self._send_message(id)
        else:
            del self.pending[id]

    def _on_accepted(self, frame: Frame) -> None:
        if self.transcript.has_ended(frame["id"]):
            self.pending.pop(frame["id"], None)
        else:
            self.pending[frame["id"]] = None  # perhaps again: a broker without its memory takes it for a new one
            self._later(LOOKED_UP_AFTER, LOOKED_UP_AFTER, self._look_up, frame["id"])

    def _look_up(self, id: str) -> None:
        """Of what ended in a memory that is lost, and before later events that were seen since, the history knows the
        end, and no connection tells it: cursors do not go back."""
        answer = self.world.records.answer_of(self.transcript.session, id)
        if answer is not None and id in self.pending and id not in self.transcript.lost:
            after = self.transcript.cursor
            if self.world.records.memories > 1 and after is not None and answer.cursor.position < position(after):
                self.world.note("looked up in the history")
                self.transcript.ended_in_history(id)
                del self.pending[id]

    def _on_queued(self, frame: Frame) -> None:
        pass

    def _on_pong(self, frame: Frame) -> None:
        pass

    def _on_going_away(self, frame: Frame) -> None:
        self._later(frame["retry_after_ms"] / 1000, SLOW_TO_MOVE, self._move, self.socket)

    def _move(self, socket: Socket) -> None:
        if socket is self.socket:
            socket.leave()
            self._hang_up()
            self._connect()

    def _on_error(self, frame: Frame) -> None:
        id, code = frame.get("id"), frame["code"]
        if not self.joined:
            if code == "session_not_found" and self.transcript.session:
                self._lose_session()
            self._expect_answer()
            self._later(0.05, 0.5, self._try_again, self.socket)
        elif id in self.pending and code != "unknown_id":
            self._later(0.1, 1.0, self._repeat_if_needed, id)

    def _try_again(self, socket: Socket) -> None:
        if socket is self.socket and not self.joined:
            self._join()

    def _repeat_if_needed(self, id: str) -> None:
        if id in self.pending and id not in self.transcript.accepted:
            self._send_message(id)

    def _lose_session(self) -> None:
        self.transcript.session_is_gone()
        for id in tuple(self.pending):
            if id in self.transcript.lost and self.chance.random() < 0.3:
                del self.pending[id]


class Watcher(Person):
    """Somebody else in the session of `host`, perhaps on another gateway, who asks for nothing."""

    def __init__(self, world: "World", name: str, host: Person, wishes: list[Wish], chance: Random) -> None:
        self.host = host
        super().__init__(world, name, host.tag, wishes, chance)

    @property
    def finished(self) -> bool:
        """See Person."""
        return not self._wishes

    def _known_ids(self) -> list[str]:
        return self.host.asked

    def _may_connect(self) -> bool:
        """There must be a session to look at."""
        if not self.transcript.session:
            self.transcript.session = self.host.transcript.session
        return self.transcript.session != ""

    def _lose_session(self) -> None:
        """The host may have got another one."""
        self.transcript.session_is_gone()
        if self.socket is not None:
            self.socket.leave()
            self._hang_up()
            self._later(0.5, 1.0, self._connect)
