"""A stream over HTTP ends with the right by which it came, like a socket."""

import httpx2

from tests.gateway.auth.guarded import guarded


async def test_an_event_stream_ends_when_its_key_is_revoked() -> None:
    async with guarded("ann") as chat:
        headers = {"authorization": f"Bearer {chat.keys['ann']}"}
        url = f"http://127.0.0.1:{chat.port}/api/sessions"
        async with httpx2.AsyncClient(headers=headers, timeout=10) as client:
            session = (await client.post(url, json={})).json()["session_id"]
            async with client.stream("GET", f"{url}/{session}/events") as stream:
                assert stream.status_code == 200
                chat.revoke_all()
                assert b"event: session" in b"".join([chunk async for chunk in stream.aiter_raw()])
