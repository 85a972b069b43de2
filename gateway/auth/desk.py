"""`POST /api/tickets`: where somebody with a key gets a ticket for a browser's WebSocket."""

import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.auth.answers import refusal
from gateway.auth.credentials import TICKET
from gateway.auth.gate import Gate
from gateway.auth.tickets import LIFETIME
from gateway.caller import Caller, caller_of
from shared.errors import ChatError

PATH = "/api/tickets"


class Desk:
    """The endpoint. Without a gate a ticket is looked at as little as anything else that is shown."""

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate

    async def hand_out(self, request: Request) -> JSONResponse:
        """201 with the ticket, also as the subprotocol that it is used by."""
        try:
            ticket = await self._ticket(caller_of(request.scope))
        except ChatError as error:
            return refusal(PATH, error, shown=True)
        body = {"ticket": ticket, "subprotocol": TICKET + ticket, "expires_in": LIFETIME}
        return JSONResponse(body, 201, headers={"cache-control": "no-store"})

    async def _ticket(self, caller: Caller) -> str:
        return secrets.token_urlsafe(32) if self._gate is None else await self._gate.ticket(caller)


def routes(gate: Gate | None) -> list[Route]:
    """What the application needs."""
    return [Route(PATH, Desk(gate).hand_out, methods=["POST"])]
