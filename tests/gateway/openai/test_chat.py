import asyncio
from typing import Any

import httpx2
import pytest

from gateway.openai import replying
from shared.brokers.state import Limits
from shared.errors import EngineUnavailable, WorkerLost
from shared.request import Turn, decode_request
from tests.gateway.housing import house
from tests.gateway.openai.speaking import asking, chat, error, events, nothing_left, url_of
from tests.gateway.serving import until

PATH = "/v1/chat/completions"


def contents(text: str) -> list[str]:
    return [chunk["choices"][0]["delta"].get("content", "") for chunk in events(text) if chunk["choices"]]


async def test_a_whole_reply() -> None:
    async with house() as home, asking(home, PATH, chat(temperature=0.5)) as answer:
        run = await home.run()
        request = decode_request(run.lease.request)
        assert request.turns == (Turn("user", "Hello"),)
        assert (request.model, request.params.temperature) == (None, 0.5)
        run.say("Hi")
        run.done(" there")
        response = await answer
        assert response.status_code == 200
        body = response.json()
        assert body["choices"][0]["message"]["content"] == "Hi there"
        assert body["id"].startswith("chatcmpl-")
        assert body["usage"]["total_tokens"] == 3
        assert response.headers["x-request-id"].startswith("req_")
        assert "x-llm-chat-session" not in response.headers
        await nothing_left(home)


async def test_the_messages_are_the_context() -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Bye"},
    ]
    async with house() as home, asking(home, PATH, chat(messages=messages)):
        run = await home.run()
        assert [(turn.role, turn.content) for turn in decode_request(run.lease.request).turns] == [
            ("system", "be kind"),
            ("user", "Hello"),
            ("assistant", "Hi"),
            ("user", "Bye"),
        ]
        run.done("x")


async def test_a_context_that_no_user_ends_is_sent_as_it_is() -> None:
    async with house() as home, asking(home, PATH, chat(messages=[{"role": "system", "content": "Speak."}])):
        run = await home.run()
        assert decode_request(run.lease.request).turns == (Turn("system", "Speak."),)
        run.done("x")


async def test_a_stream_comes_piece_by_piece() -> None:
    async with house() as home:
        waiting = asyncio.create_task(home.run())
        request = home.client.build_request("POST", PATH, json=chat(stream=True))
        sending = asyncio.create_task(home.client.send(request, stream=True))
        run = await waiting
        run.say("one")
        response = await sending
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-request-id"].startswith("req_")
        lines = response.aiter_lines()
        seen = ""
        while "one" not in seen:
            seen += await anext(lines)
        run.done(" two")
        rest = [line async for line in lines]
        assert rest[-2:] == ["data: [DONE]", ""]
        await nothing_left(home)


async def test_a_stream_whose_client_goes_is_stopped_and_forgotten() -> None:
    async with house() as home:
        client = httpx2.AsyncClient(base_url=url_of(home))
        sending = asyncio.create_task(
            client.send(client.build_request("POST", PATH, json=chat(stream=True)), stream=True)
        )
        run = await home.run()
        run.say("one")
        response = await sending
        await response.aclose()
        await client.aclose()
        await nothing_left(home)
        assert [refusal.reason for refusal in run.say("two")] == ["fenced"]


async def test_a_whole_reply_whose_client_goes_is_stopped_and_forgotten() -> None:
    async with house() as home:
        client = httpx2.AsyncClient(base_url=url_of(home))
        sending = asyncio.create_task(client.post(PATH, json=chat()))
        run = await home.run()
        run.say("one")
        sending.cancel()
        await client.aclose()
        await nothing_left(home)
        assert [refusal.reason for refusal in run.say("two")] == ["fenced"]


@pytest.mark.parametrize("stream", [False, True])
async def test_in_the_background_it_goes_on_without_its_client(stream: bool) -> None:
    async with house() as home:
        client = httpx2.AsyncClient(base_url=url_of(home))
        body = chat(stream=stream, background=True)
        sending = asyncio.create_task(client.send(client.build_request("POST", PATH, json=body), stream=True))
        run = await home.run()
        run.say("one")
        if stream:
            response = await sending
            assert response.headers["x-llm-chat-session"] == run.lease.session
            assert response.headers["x-llm-chat-message"] == run.lease.id
            await response.aclose()
        sending.cancel()
        await client.aclose()
        await until(lambda: len(home.gate.hub) == 0)
        assert run.done(" two") == []
        assert run.lease.session in home.memory.state._sessions


async def test_usage_is_streamed_when_it_is_wanted() -> None:
    async with house() as home:
        async with asking(home, PATH, chat(stream=True, stream_options={"include_usage": True})) as answer:
            (await home.run()).done("x")
        found = events((await answer).text)
        assert found[-1]["choices"] == []
        assert found[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        assert all(chunk["usage"] is None for chunk in found[:-1])


async def test_an_exact_takeover_is_not_seen() -> None:
    async with house() as home:
        async with asking(home, PATH, chat(stream=True)) as answer:
            (await home.run()).say("one")
            home.worker.die()
            (await home.run()).done(" two")
        assert contents((await answer).text) == ["", "one", " two", ""]


async def test_a_takeover_that_is_not_exact_ends_a_stream_with_text_by_an_error() -> None:
    async with house() as home:
        async with asking(home, PATH, chat(stream=True)) as answer:
            (await home.run()).say("one")
            home.worker.die()
            (await home.run()).say("another", exact=False)
        text = (await answer).text
        assert events(text)[-1]["error"]["code"] == "restarted"
        assert "[DONE]" not in text
        await nothing_left(home)


async def test_a_takeover_that_is_not_exact_is_not_seen_in_a_whole() -> None:
    async with house() as home:
        async with asking(home, PATH, chat()) as answer:
            (await home.run()).say("one")
            home.worker.die()
            (await home.run()).done("another", exact=False)
        assert (await answer).json()["choices"][0]["message"]["content"] == "another"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_any_text_is_a_status(stream: bool) -> None:
    async with house() as home:
        async with asking(home, PATH, chat(stream=stream)) as answer:
            run = await home.run()
            run.say()
            run.failed(EngineUnavailable("Away."))
        response = await answer
        assert response.status_code == 503
        assert error(response) == {
            "message": "Away.",
            "type": "server_error",
            "param": None,
            "code": "engine_unavailable",
        }
        assert response.headers["x-should-retry"] == "true"
        assert response.headers["retry-after"] == "1"
        await nothing_left(home)


async def test_a_failure_in_mid_stream_is_an_error_chunk() -> None:
    async with house() as home:
        async with asking(home, PATH, chat(stream=True)) as answer:
            run = await home.run()
            run.say("one")
            run.failed(WorkerLost("Gone."))
        response = await answer
        assert response.status_code == 200
        assert events(response.text)[-1] == {
            "error": {"message": "Gone.", "type": "server_error", "param": None, "code": "worker_lost"}
        }


async def test_a_full_queue_is_429_with_a_time_to_wait() -> None:
    async with house(limits=Limits(queue=0)) as home:
        response = await home.client.post(PATH, json=chat(stream=True))
        assert response.status_code == 429
        assert error(response)["code"] == "queue_full"
        assert response.headers["retry-after-ms"] == "1000"
        await nothing_left(home)


async def test_a_lost_memory_is_said() -> None:
    async with house() as home:
        async with asking(home, PATH, chat(stream=True)) as answer:
            run = await home.run()
            run.say("one")
            await until(lambda: any(session.heard_at for session in home.gate.hub._sessions.values()))
            home.gate.hub._see_epoch("another")
        assert events((await answer).text)[-1]["error"]["code"] == "lost"


BAD: list[tuple[dict[str, Any], int, str | None]] = [
    ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, None),
    ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
    ({"content": b"x=1", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415, None),
    ({"json": {"model": "echo"}}, 400, None),
    ({"json": chat(model="gpt-none")}, 404, "model_not_found"),
    ({"json": chat(n=2)}, 400, "unsupported_parameter"),
    ({"content": b" " * ((4 << 20) + 1), "headers": {"content-type": "application/json"}}, 413, "message_too_large"),
]


@pytest.mark.parametrize(("sent", "status", "code"), BAD)
async def test_bad_input_has_its_status_and_openais_error_object(sent: Any, status: int, code: str | None) -> None:
    async with house() as home:
        response = await home.client.post(PATH, **sent)
        assert response.status_code == status
        found = error(response)
        assert found["type"] == "invalid_request_error"
        assert code is None or found["code"] == code
        assert response.headers["x-should-retry"] == "false"
        assert len(home.memory.state._sessions) == 0


async def test_wrong_methods_and_addresses() -> None:
    async with house() as home:
        response = await home.client.get(PATH)
        assert (response.status_code, error(response)["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "POST"
        for path in ("/v1", "/v1/embeddings", "/v1/chat", "/v1/a%0Ab/c"):
            for method in ("GET", "POST", "DELETE"):
                response = await home.client.request(method, path)
                assert (response.status_code, error(response)["code"]) == (404, "not_found")


async def test_models() -> None:
    async with house() as home:
        listed = (await home.client.get("/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == ["echo"]
        assert (await home.client.get("/v1/models/echo")).json() == listed["data"][0]
        response = await home.client.get("/v1/models/org/none")
        assert (response.status_code, error(response)["code"]) == (404, "model_not_found")
        assert (await home.client.post("/v1/models")).headers["allow"] == "GET, HEAD"


async def test_a_gateway_that_stops_sends_its_clients_elsewhere() -> None:
    async with house() as home:
        home.gate.hub.stopping = True
        response = await home.client.post(PATH, json=chat())
        assert (response.status_code, error(response)["code"]) == (503, "stopping")
        assert response.headers["x-should-retry"] == "true"


async def test_a_fault_of_our_own_is_a_500_in_openais_form(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as home:

        def broken(*args: object) -> None:
            raise RuntimeError("a path and a secret")

        monkeypatch.setattr(home.gate.hub, "begin", broken)
        response = await home.client.post(PATH, json=chat())
        assert response.status_code == 500
        assert error(response)["code"] == "internal"
        assert "secret" not in response.text


async def test_a_client_that_waits_long_hears_something_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replying, "PING_SECONDS", 0.01)
    async with house() as home:
        request = home.client.build_request("POST", PATH, json=chat(stream=True))
        response = await home.client.send(request, stream=True)
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert await anext(lines) == ": ping"
        (await home.run()).failed(WorkerLost("Gone."))
        rest = [line async for line in lines]
        assert events("\n\n".join(rest))[-1]["error"]["code"] == "worker_lost"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_that_is_deleted_ends_its_reply(stream: bool) -> None:
    async with house(gateways=2) as home:
        async with asking(home, PATH, chat(stream=stream, background=True)) as answer:
            run = await home.run()
            run.say("one")
            await until(lambda: any(session.heard_at for session in home.gate.hub._sessions.values()))
            await home.gates[1].hub.deletions.forget(run.lease.session)
        response = await answer
        found = events(response.text)[-1]["error"] if stream else error(response)
        assert found["code"] == "session_not_found"


async def test_foreign_pages_are_refused_in_openais_form() -> None:
    async with house() as home:
        response = await home.client.post(PATH, json=chat(), headers={"origin": "https://foreign.example"})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "origin_not_allowed"


async def test_what_is_in_the_background_can_be_followed_on_other_interfaces() -> None:
    async with house(gateways=2) as home:
        async with asking(home, PATH, chat(background=True)) as answer:
            run = await home.run()
            run.say("one")
            path = f"/api/sessions/{run.lease.session}/events"
            seen = ""
            async with home.gates[1].client.stream("GET", path) as followed:
                async for line in followed.aiter_lines():
                    seen += line
                    if '"text":"one"' in line:
                        run.done(" two")
                    if '"type":"done"' in line:
                        break
            assert run.lease.id in seen
        assert (await answer).headers["x-llm-chat-session"] == run.lease.session
