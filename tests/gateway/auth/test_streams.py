"""A stream over HTTP ends with the right by which it came, like a socket."""

import asyncio

import httpx2

from tests.gateway.auth.guarded import guarded
from tests.gateway.chatting import turns


async def test_an_event_stream_ends_when_its_key_is_revoked() -> None:
    async with guarded("ann") as chat:
        headers = {"authorization": f"Bearer {chat.keys['ann']}"}
        url = f"http://127.0.0.1:{chat.port}/api/sessions"
        async with httpx2.AsyncClient(headers=headers, timeout=10) as client:
            session = (await client.post(url, json={})).json()["session_id"]
            async with client.stream("GET", f"{url}/{session}/events") as stream:
                assert stream.status_code == 200
                chat.revoke_all()
                said = b"".join([chunk async for chunk in stream.aiter_raw()])
        assert b"event: session" in said
        assert b'{"type":"error","code":"not_authenticated"' in said


async def test_a_chat_ends_in_an_error() -> None:
    async with guarded("ann") as chat:
        body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
        asking = asyncio.create_task(chat.ask("POST", "/v1/chat/completions", chat.keys["ann"], body))
        await turns(50)
        chat.revoke_all()
        answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_socket_in_websocket_mode_is_closed_though_it_says_nothing() -> None:
    async with guarded("ann") as chat, chat.socket(bearer=chat.keys["ann"], path="/v1/responses") as socket:
        chat.revoke_all()
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert socket.close_code == 4401
