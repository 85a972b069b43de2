"""The WebSocket mode of /v1/responses, as the official SDKs speak it: a `response.create` each, and the events of the
responses, one text frame each."""

import math

from starlette.types import Message, Receive, Scope, Send

from gateway import origin
from gateway.caller import Caller, caller_of
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.openai.api import problem_response
from gateway.openai.beginning import Beginning
from gateway.openai.lane import Lane, Socket
from gateway.openai.problem import INVALID, Problem, Refused, problem_of
from gateway.openai.socket_events import error_event, lane_in, read_event
from gateway.plain import PlainDialect
from gateway.refusals import Stopping
from gateway.writers import AsgiWriter
from shared.clock import Clock

MOST_LANES = 16
NO_BINARY = 1003
NOT_AUTHENTICATED = 4401
FOREIGN = Problem(403, "This Origin is not allowed.", INVALID, None, "origin_not_allowed")
FULL = Problem(429, "Too many requests of this connection are waiting.", "rate_limit_error", None, "busy", True)


class ResponsesSocket:
    """An ASGI application for one route."""

    def __init__(self, hub: Hub, clock: Clock, beginning: Beginning, origins: tuple[str, ...]) -> None:
        self._hub = hub
        self._clock = clock
        self._beginning = beginning
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it ends."""
        refusal = self._refusal(scope)
        if refusal is not None:
            await problem_response(refusal)(scope, receive, send)
            return
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        writer = AsgiWriter(send)
        caller = caller_of(scope)
        talk = Talk(Socket(writer, self._hub, self._beginning, caller, {}))
        presence = self._present(writer, caller)
        writer.on_drained = talk.on_drained
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                self._take(message, talk, writer, caller)
                await writer.room()
        finally:
            presence.on_gone()
            await talk.close()

    def _present(self, writer: AsgiWriter, caller: Caller) -> Connection:
        """The socket itself, of which the hub would know nothing while no reply is under way: it has the caller's right
        in view. It joins no session, so that nothing is ever said in its dialect, and it is never idle."""
        presence = Connection(self._hub, PlainDialect(), writer, caller)
        presence.active_at = math.inf
        return presence

    def _refusal(self, scope: Scope) -> Problem | None:
        if self._hub.stopping:
            return problem_of(Stopping())
        return None if origin.allowed(scope["headers"], self._origins) else FOREIGN

    def _take(self, message: Message, talk: "Talk", writer: AsgiWriter, caller: Caller) -> None:
        text = message.get("text")
        if text is None:
            writer.close(NO_BINARY, "text frames only")
        elif caller.expires_at is not None and self._clock.wall_ms() >= caller.expires_at * 1000:
            writer.close(NOT_AUTHENTICATED, "the credentials have expired")
        else:
            talk.hear(text)


class Talk:
    """What one client says, lane by lane."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._lanes: dict[str | None, Lane] = {}

    def hear(self, text: str) -> None:
        """A text frame came."""
        try:
            asked = read_event(text)
            if not self._lane(asked.lane).add(asked):
                raise Refused(FULL)
        except Refused as refused:
            self._socket.writer.send([error_event(refused.problem, lane_in(text))])

    def on_drained(self) -> None:
        """The socket has emptied."""
        for lane in list(self._lanes.values()):
            lane.on_drained()

    async def close(self) -> None:
        """The client has gone."""
        for lane in self._lanes.values():
            await lane.close()

    def _lane(self, name: str | None) -> Lane:
        if name not in self._lanes and len(self._lanes) >= MOST_LANES:
            self._drop_idle_lane()
        return self._lanes.setdefault(name, Lane(name, self._socket))

    def _drop_idle_lane(self) -> None:
        for name, lane in self._lanes.items():
            if not lane.busy:
                del self._lanes[name]
                lane.forget()
                return
        raise Refused(FULL)
