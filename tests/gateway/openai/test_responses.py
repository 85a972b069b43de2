import asyncio
from typing import Any

import httpx2
import pytest

from gateway.openai.response_id import ResponseId
from shared.brokers.state import Limits
from shared.errors import EngineError
from shared.request import decode_request
from tests.gateway.housing import House, house
from tests.gateway.openai.speaking import Json, asking, error, events, nothing_left, text_of, url_of
from tests.gateway.serving import until
from tests.gateway.writing import Run
from tests.memory_store import MemoryStore

PATH = "/v1/responses"


def ask(content: Any = "Hello", **fields: Any) -> Json:
    return {"model": "echo", "input": content, **fields}


def turns(run: Run) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in decode_request(run.lease.request).turns]


async def answered(home: House, text: str, body: Json, gate: int = 0) -> Json:
    """A whole response."""
    async with asking(home, PATH, body, gate) as answer:
        (await home.run()).done(text)
    response = await answer
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


async def in_background(home: House, **fields: Any) -> tuple[Json, Run]:
    """A response that is under way."""
    response = await home.client.post(PATH, json=ask(background=True, **fields))
    assert response.json()["status"] == "queued"
    return response.json(), await home.run()


async def get(home: House, id: str, gate: int = 0, **params: Any) -> httpx2.Response:
    return await home.gates[gate].client.get(f"{PATH}/{id}", params=params)


async def test_a_whole_response_is_found_again_on_any_gateway() -> None:
    async with house(gateways=2) as home:
        body = await answered(home, "Hi", ask(instructions="be kind", metadata={"a": "b"}))
        assert (body["status"], body["output"][0]["content"][0]["text"]) == ("completed", "Hi")
        assert (body["instructions"], body["metadata"], body["model"]) == ("be kind", {"a": "b"}, "echo")
        for gate in (0, 1):
            assert (await get(home, body["id"], gate)).json() == body
        items = (await home.client.get(f"{PATH}/{body['id']}/input_items")).json()
        assert [item["content"][0]["text"] for item in items["data"]] == ["Hello"]


async def test_a_stream_and_the_same_again_from_anywhere() -> None:
    async with house(gateways=2) as home:
        async with asking(home, PATH, ask(stream=True)) as answer:
            run = await home.run()
            run.say("one", " two")
            run.done(" three")
        response = await answer
        assert response.headers["content-type"].startswith("text/event-stream")
        found = events(response.text)
        assert [event["sequence_number"] for event in found] == list(range(len(found)))
        assert text_of(found) == "one two three"
        id = found[0]["response"]["id"]
        assert (response.headers["x-llm-chat-session"], response.headers["x-llm-chat-message"]) == ResponseId.parse(id)
        assert (await get(home, id, 1, stream="true")).text == response.text
        for after in range(len(found)):
            again = await get(home, id, 1, stream="true", starting_after=after)
            assert events(again.text) == found[after + 1 :]


async def test_a_response_in_the_background_is_followed_live_on_another_gateway() -> None:
    async with house(gateways=2) as home:
        body, run = await in_background(home)
        assert (await get(home, body["id"])).json()["status"] == "queued"
        run.say("one")
        assert (await get(home, body["id"])).json()["status"] == "in_progress"
        following = asyncio.create_task(get(home, body["id"], 1, stream="true", starting_after=3))
        await until(lambda: len(home.gates[1].hub) == 1)
        run.done(" two")
        found = events((await following).text)
        assert text_of(found) == "one two"
        assert found[0]["sequence_number"] == 4
        assert found[-1]["response"] == (await get(home, body["id"])).json()


async def test_a_follower_of_what_is_queued_hears_so_at_once() -> None:
    async with house() as home:
        body = (await home.client.post(PATH, json=ask(background=True))).json()
        request = home.client.build_request("GET", f"{PATH}/{body['id']}", params={"stream": "true"})
        response = await home.client.send(request, stream=True)
        seen = ""
        async for line in response.aiter_lines():
            seen += line
            if "response.in_progress" in line:
                break
        assert "response.created" in seen
        await response.aclose()
        assert len(home.memory.state._life.queue) == 1


async def test_a_conversation_goes_on_in_its_session() -> None:
    async with house(gateways=2) as home:
        first = await answered(home, "Hi", ask(instructions="be kind"))
        async with asking(
            home, PATH, ask("Bye", previous_response_id=first["id"], instructions="be brief"), 1
        ) as answer:
            run = await home.run()
            assert turns(run) == [("system", "be brief"), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
            run.done("Ciao")
        second = (await answer).json()
        assert second["previous_response_id"] == first["id"]
        assert ResponseId.parse(second["id"]).session == ResponseId.parse(first["id"]).session
        third = await answered(home, "!", ask("Well", previous_response_id=second["id"]))
        assert third["output"][0]["content"][0]["text"] == "!"
        for body in (first, second, third):
            assert (await get(home, body["id"])).json() == body
            stream = events((await get(home, body["id"], 1, stream="true")).text)
            assert stream[-1]["response"] == body


async def test_a_conversation_that_went_on_forks() -> None:
    async with house() as home:
        first = await answered(home, "Hi", ask())
        await answered(home, "Ciao", ask("Bye", previous_response_id=first["id"]))
        async with asking(home, PATH, ask("Or else", previous_response_id=first["id"])) as answer:
            run = await home.run()
            assert turns(run) == [("user", "Hello"), ("assistant", "Hi"), ("user", "Or else")]
            run.done("x")
        fork = (await answer).json()
        assert ResponseId.parse(fork["id"]).session != ResponseId.parse(first["id"]).session


async def test_what_is_not_to_be_stored_is_forgotten() -> None:
    async with house() as home:
        body = await answered(home, "Hi", ask(store=False))
        await nothing_left(home)
        response = await get(home, body["id"])
        assert (response.status_code, error(response)["code"]) == (404, "response_not_found")


async def test_what_is_not_to_be_stored_may_continue_what_is() -> None:
    async with house() as home:
        first = await answered(home, "Hi", ask())
        async with asking(home, PATH, ask("Bye", previous_response_id=first["id"], store=False)):
            run = await home.run()
            assert turns(run) == [("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
            run.done("x")
        await until(lambda: len(home.memory.state._sessions) == 1)
        assert (await get(home, first["id"])).json() == first


async def test_cancel_ends_it_from_anywhere() -> None:
    async with house(gateways=2) as home:
        body, run = await in_background(home)
        run.say("one")
        cancelling = asyncio.create_task(home.gates[1].client.post(f"{PATH}/{body['id']}/cancel"))
        await until(lambda: bool(home.memory.state._life.cancelling))
        run.done(reason="cancelled")
        cancelled = (await cancelling).json()
        assert cancelled["status"] == "cancelled"
        assert cancelled["output"][0]["content"][0]["text"] == "one"
        assert (await get(home, body["id"])).json() == cancelled
        again = await home.client.post(f"{PATH}/{body['id']}/cancel")
        assert again.json() == cancelled


async def test_cancel_of_what_waits_needs_no_worker() -> None:
    async with house() as home:
        body = (await home.client.post(PATH, json=ask(background=True))).json()
        assert (await home.client.post(f"{PATH}/{body['id']}/cancel")).json()["status"] == "cancelled"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_stops_its_response(stream: bool) -> None:
    async with house() as home:
        client = httpx2.AsyncClient(base_url=url_of(home))
        sending = asyncio.create_task(
            client.send(client.build_request("POST", PATH, json=ask(stream=stream)), stream=True)
        )
        run = await home.run()
        run.say("one")
        if stream:
            await (await sending).aclose()
        sending.cancel()
        await client.aclose()
        await until(lambda: bool(home.memory.state._life.cancelling))
        run.done(reason="cancelled")
        id = str(ResponseId(run.lease.session, run.lease.id))
        assert (await get(home, id)).json()["status"] == "cancelled"


@pytest.mark.parametrize("stopping", [False, True])
async def test_in_the_background_or_when_the_gateway_goes_it_runs_on(stopping: bool) -> None:
    async with house() as home:
        client = httpx2.AsyncClient(base_url=url_of(home))
        body = ask(stream=True, background=not stopping)
        sending = asyncio.create_task(client.send(client.build_request("POST", PATH, json=body), stream=True))
        run = await home.run()
        run.say("one")
        response = await sending
        home.gate.hub.stopping = stopping
        await response.aclose()
        await client.aclose()
        await until(lambda: len(home.gate.hub) == 0)
        assert run.done(" two") == []
        home.gate.hub.stopping = False
        id = str(ResponseId(run.lease.session, run.lease.id))
        assert (await get(home, id)).json()["status"] == "completed"


async def test_a_stream_that_cannot_be_exact_fails_but_the_response_has_its_text() -> None:
    async with house() as home:
        async with asking(home, PATH, ask(stream=True)) as answer:
            (await home.run()).say("one")
            home.worker.die()
            (await home.run()).done("another", exact=False)
        text = (await answer).text
        failed = events(text)[-1]
        assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
        id = failed["response"]["id"]
        assert (await get(home, id, stream="true")).text == text
        assert (await get(home, id)).json()["output"][0]["content"][0]["text"] == "another"


async def test_a_failure_is_a_status_of_a_whole_and_the_end_of_a_stream() -> None:
    async with house() as home:
        async with asking(home, PATH, ask()) as answer:
            (await home.run()).failed(EngineError("Broke."))
        response = await answer
        assert (response.status_code, error(response)["code"]) == (502, "engine_error")
        async with asking(home, PATH, ask(stream=True)) as answer:
            (await home.run()).failed(EngineError("Broke."))
        found = events((await answer).text)
        assert [event["type"] for event in found][-1] == "response.failed"
        assert found[-1]["response"]["error"] == {"code": "server_error", "message": "Broke."}


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_accepted_is_a_status(stream: bool) -> None:
    async with house(limits=Limits(queue=0)) as home:
        response = await home.client.post(PATH, json=ask(stream=stream))
        assert (response.status_code, error(response)["code"]) == (429, "queue_full")


async def test_deleted_is_deleted() -> None:
    async with house(gateways=2) as home:
        body = await answered(home, "Hi", ask())
        deleted = await home.gates[1].client.delete(f"{PATH}/{body['id']}")
        assert deleted.json() == {"id": body["id"], "object": "response", "deleted": True}
        assert (await get(home, body["id"])).status_code == 404
        await nothing_left(home)
        assert (await home.client.delete(f"{PATH}/{body['id']}")).status_code == 404


async def test_of_a_conversation_only_the_one_response_is_deleted() -> None:
    async with house() as home:
        first = await answered(home, "Hi", ask())
        second = await answered(home, "Ciao", ask("Bye", previous_response_id=first["id"]))
        await home.client.delete(f"{PATH}/{first['id']}")
        assert (await get(home, first["id"])).status_code == 404
        assert (await get(home, second["id"])).json() == second
        gone = await home.client.post(PATH, json=ask(previous_response_id=first["id"]))
        assert (gone.status_code, error(gone)["code"]) == (400, "previous_response_not_found")


async def test_deleting_stops_what_runs() -> None:
    async with house() as home:
        body, run = await in_background(home)
        await home.client.delete(f"{PATH}/{body['id']}")
        await nothing_left(home)
        assert [refusal.reason for refusal in run.say("one")] == ["fenced"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_longer_than_the_window_is_refused_with_a_history_too(stream: bool) -> None:
    async with house(store=MemoryStore()) as home:
        refused = await home.client.post(PATH, json=ask("x" * 40_000, stream=stream))
        assert (refused.status_code, error(refused)["code"]) == (400, "context_length_exceeded")
        first = await answered(home, "Hi", ask("x" * 20_000))
        body = ask("x" * 20_000, stream=stream, previous_response_id=first["id"])
        refused = await home.client.post(PATH, json=body)
        assert (refused.status_code, error(refused)["code"]) == (400, "context_length_exceeded")


async def test_what_still_runs_cannot_be_continued_yet() -> None:
    async with house() as home:
        body, _ = await in_background(home)
        response = await home.client.post(PATH, json=ask(previous_response_id=body["id"]))
        assert (response.status_code, error(response)["code"]) == (409, "previous_response_not_finished")
        assert response.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("id", ["resp_none", "nothing", str(ResponseId("s_none", "r_none")), "resp_" + "A" * 3000])
async def test_an_unknown_response_is_said(id: str) -> None:
    async with house() as home:
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            response = await home.client.request(method, f"{PATH}/{id}{path}")
            assert (response.status_code, error(response)["code"]) == (404, "response_not_found")
        response = await home.client.post(PATH, json=ask(previous_response_id=id))
        assert (response.status_code, error(response)["param"]) == (400, "previous_response_id")


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"stream": "maybe"}, "stream"),
        ({"stream": "true", "starting_after": "x"}, "starting_after"),
        ({"stream": "true", "starting_after": "-1"}, "starting_after"),
        ({"starting_after": "1"}, "starting_after"),
    ],
)
async def test_wrong_parameters_are_named(params: Json, param: str) -> None:
    async with house() as home:
        body = await answered(home, "Hi", ask())
        response = await get(home, body["id"], **params)
        assert (response.status_code, error(response)["param"]) == (400, param)


async def test_another_owners_response_does_not_exist() -> None:
    async with house() as home:
        body = await answered(home, "Hi", ask())
        id = ResponseId.parse(body["id"])
        home.memory.state._sessions[id.session].owner = "ann"
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            response = await home.client.request(method, f"{PATH}/{body['id']}{path}")
            assert (response.status_code, error(response)["code"]) == (404, "response_not_found")
        response = await home.client.post(PATH, json=ask(previous_response_id=body["id"]))
        assert error(response)["code"] == "previous_response_not_found"


async def test_a_message_of_another_interface_is_no_response() -> None:
    async with house() as home:
        async with asking(
            home, "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "background": True}
        ):
            run = await home.run()
            run.done("x")
        assert (await get(home, str(ResponseId(run.lease.session, run.lease.id)))).status_code == 404
