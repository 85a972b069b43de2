"""Two owners with 50 sessions each: whatever one of them tries with the other's, it does not exist."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.caller import Caller
from gateway.protocol import JsonDialect
from tests.gateway.auth.guarded import Guarded, guarded
from tests.gateway.chatting import Client, Gateway, chatting, turns
from tests.gateway.ownership import Names, Reach, told_apart, unlisted

SESSIONS = 50  # of each owner
OWNERS = ("ann", "bob")
QUICK = ("/api/sessions/{session}", "/api/sessions/{session}/export", "/v1/responses/{response}")  # end by themselves
Settle = Callable[[], Awaitable[None]]


def client(gateway: Gateway, owner: str) -> Client:
    return Client(gateway.hub, JsonDialect(), Caller(owner))


async def test_every_cross_access_on_a_socket_is_refused_on_both_gateways() -> None:
    async with chatting() as chats:
        clients: dict[str, list[Client]] = {owner: [] for owner in OWNERS}
        for number in range(SESSIONS):
            for owner in OWNERS:
                one = client(chats.gateways[number % 2], owner)
                one.ask(f"m{number}")
                clients[owner].append(one)
        await chats.settle()
        runs = {(run.lease.session, run.lease.id): run for run in chats.worker.take()}
        assert len(runs) == 2 * SESSIONS
        for run in runs.values():
            run.say("secret")
        await chats.settle()

        for owner, thief in (OWNERS, OWNERS[::-1]):
            for gateway in chats.gateways:
                await try_all(chats.settle, clients[owner], client(gateway, thief), client(gateway, thief))
        for run in runs.values():
            run.done("!")  # nothing was cancelled
        await chats.settle()
        for owner in OWNERS:
            for one in clients[owner]:
                assert [event["type"] for event in one.events] == ["started", "delta", "delta", "done"]
                assert one.text(one.events[0]["id"]) == "secret!"


async def try_all(settle: Settle, victims: list[Client], thief: Client, talker: Client) -> None:
    """By resume, from everywhere in it, and by cancel and message under its ids."""
    for victim in victims:
        for after in ({}, {"after": victim.events[0]["cursor"]}, {"after": victim.events[-1]["cursor"]}):
            thief.send("resume", session_id=victim.session, **after)
            await settle()
            (refusal,) = thief.new()
            assert (refusal["type"], refusal["code"]) == ("error", "session_not_found")
        id = victim.events[0]["id"]
        thief.send("cancel", id=id)
        await settle()
        assert thief.contents() == [f"error {id}"]
    talker.send("start")
    await settle()
    assert [victim.session for victim in victims if victim.session == talker.session] == []
    talker.new()
    for victim in victims:
        talker.send("cancel", id=victim.events[0]["id"])
    await settle()
    assert {frame.get("code") for frame in talker.new()} == {"unknown_id"}
    thief.go()
    talker.go()


# --- HTTP -----------------------------------------------------------------------------------------------------------


async def test_every_cross_access_by_http_is_refused() -> None:
    async with guarded(*OWNERS) as chat:
        assert unlisted(chat.app) == set()
        for owner, thief in (OWNERS, OWNERS[::-1]):
            theirs = await begin(chat, owner)

            async def ask(reach: Reach, bearer: str = chat.keys[thief]) -> tuple[int, str]:
                answer = await chat.ask(reach.method, reach.path, bearer, reach.body)
                return answer.status_code, answer.text

            assert await told_apart(ask, theirs) == []
            for path in QUICK:
                answer = await chat.ask("GET", path.format_map(theirs), chat.keys[owner])
                assert answer.status_code == 200, path


async def begin(chat: Guarded, owner: str) -> Names:
    """A session with one message, and a response."""
    key = chat.keys[owner]
    session = (await chat.ask("POST", "/api/sessions", key, {})).json()
    id = session["session_id"]
    await chat.ask("POST", f"/api/sessions/{id}/messages", key, {"id": "m1", "content": "Hello"})
    made = await chat.ask("POST", "/v1/responses", key, {"model": "echo", "input": "Hello", "background": True})
    said = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    following = asyncio.ensure_future(chat.ask("POST", "/api/chat", key, {"id": f"of-{owner}", "messages": [said]}))
    await turns(50)
    following.cancel()  # it goes on, for whoever comes back
    return {"session": id, "message": "m1", "chat": f"of-{owner}", "response": made.json()["id"]}


async def test_a_route_that_tells_is_found() -> None:
    async def owns(request: Request) -> Response:
        return PlainTextResponse(request.path_params["id"], 200 if request.path_params["id"] == "s_1" else 404)

    async def forbids(request: Request) -> Response:
        return PlainTextResponse("", 403)

    async def hides(request: Request) -> Response:
        return PlainTextResponse(f"there is no {request.path_params['id']}", 404)

    endpoints = {"owns": owns, "forbids": forbids, "hides": hides}
    app = Starlette(routes=[Route(f"/{name}/{{id}}", endpoint) for name, endpoint in endpoints.items()])
    reaches = [Reach("GET", f"/{name}/{{session}}") for name in endpoints]

    async def ask(reach: Reach) -> tuple[int, str]:
        _, name, id = reach.path.split("/")
        answer = await endpoints[name](Request({"type": "http", "path_params": {"id": id}}))
        return answer.status_code, bytes(answer.body).decode()

    found = await told_apart(ask, {"session": "s_1", "message": "m1"}, reaches)
    assert [reach for reach, *_ in found] == reaches[:2]
    assert unlisted(app, reaches) == set()
    assert unlisted(app, reaches[1:]) == {"/owns/{id}"}
