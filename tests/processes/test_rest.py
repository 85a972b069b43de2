"""REST beside WebSockets, on two gateway processes with one broker."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from tests.gateway.rest.sse import EventReader
from tests.processes.client import JsonClient, echo_of, text_of
from tests.processes.service import running_service


async def test_a_reply_is_begun_on_one_gateway_and_followed_stopped_and_deleted_at_another(tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/chats.db"
    with running_service(tmp_path, LLM_CHAT_ECHO_CHUNKS="200", LLM_CHAT_DATABASE_URL=database) as service:
        one, other = service.gateway(), service.gateway()
        service.worker()
        client = await JsonClient.open(one.ws)
        await client.say("message", id="m1", content="Hello")
        session = (await client.until("session"))["session_id"]
        address = f"/api/sessions/{session}"
        async with (
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{other.port}", timeout=10) as rest,
            rest.stream("GET", f"{address}/events") as response,
        ):
            reader = EventReader(response)
            events = await reader.until("delta")
            stopped = await rest.post(f"{address}/messages/m1/cancel")
            events += await reader.until("done")

            done = await client.until("done")
            assert stopped.json() == done == events[-1].frame
            assert done["finish_reason"] == "cancelled"
            assert done["receipt"]["stop_ms"] < 1000
            assert [event.frame for event in events[1:]] == [frame for frame in client.log if "cursor" in frame]

            (message,) = (await rest.get(address)).json()["messages"]
            assert (message["content"], message["reply"]["cursor"]) == ("Hello", done["cursor"])
            assert message["reply"]["text"] == text_of(client.log)
            assert message["reply"]["receipt"] == done["receipt"]
            (listed,) = (await rest.get("/api/sessions")).json()["sessions"]
            assert (listed["id"], listed["title"]) == (session, "Hello")

            assert (await rest.delete(address)).status_code == 204
            assert [event.frame["code"] for event in await reader.rest()] == ["session_not_found"]
            assert (await client.until("error"))["code"] == "session_not_found"
            await asyncio.wait_for(client.socket.wait_closed(), 5)
            assert client.socket.close_code == 1000
        assert [one.get(path)[0] for path in (address, f"{address}/events")] == [404, 404]
        assert one.get("/api/sessions") == (200, {"sessions": [], "next": None})


@pytest.mark.slow
async def test_a_stream_outlives_its_gateway_by_its_last_event_id(tmp_path: Path) -> None:
    with running_service(tmp_path, LLM_CHAT_ECHO_CHUNKS="30") as service:
        one, other = service.gateway(), service.gateway()
        service.worker()
        async with httpx2.AsyncClient(timeout=10) as rest:
            begun = (await rest.post(f"http://127.0.0.1:{one.port}/api/sessions")).json()
            message = {"id": "m1", "content": "Hello"}
            messages = f"http://127.0.0.1:{one.port}/api/sessions/{begun['session_id']}/messages"
            assert (await rest.post(messages, json=message)).status_code == 202
            async with rest.stream("GET", f"http://127.0.0.1:{one.port}{begun['events']}") as response:
                reader = EventReader(response)
                events = await reader.until("delta")
                stopping = asyncio.create_task(asyncio.to_thread(one.process.stop))
                events += await reader.rest()
            assert "going_away" in [event.type for event in events]
            assert await stopping == 0
            again = rest.stream(
                "GET", f"http://127.0.0.1:{other.port}{begun['events']}", headers={"last-event-id": reader.last_id}
            )
            async with again as response:
                events += await EventReader(response).until("done")

    frames = [event.frame for event in events]
    assert text_of(frames) == echo_of("Hello", 30)
    assert len({frame["cursor"] for frame in frames if "cursor" in frame}) == 30 + 2, "each event once"
