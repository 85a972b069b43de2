"""Responses that the broker keeps no longer, but the store does."""

from typing import Any

from gateway.openai.archive import meta_of
from gateway.openai.response import Head
from gateway.openai.response_id import ResponseId
from shared.messages import Done, Failed, Timing, Usage, text_sha256
from shared.request import Turn, decode_request
from shared.store import Answer, Question, StoredSession
from tests.gateway.housing import House, house
from tests.gateway.openai.speaking import Json, asking, error, events, text_of
from tests.gateway.serving import until
from tests.memory_store import MemoryStore

PATH = "/v1/responses"


def head(content: str, **fields: Any) -> Head:
    return Head(1_700_000_000, "echo", (Turn("user", content),), **fields)


class Past:
    """What was said long ago."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self._generation = 1

    async def session(self, id: str = "s_1", owner: str = "") -> None:
        await self.store.open(StoredSession(id, owner))

    async def asked(self, head: Head, message: str, session: str = "s_1") -> str:
        """A question; returns the response's id."""
        await self.store.ask(Question(session, message, head.input[-1].content, meta=meta_of(head)))
        return str(ResponseId(session, message))

    async def answered(self, head: Head, text: str, message: str, session: str = "s_1", end: Any = None) -> str:
        """A question with its answer."""
        id = await self.asked(head, message, session)
        self._generation += 1
        end = end or Done("stop", Usage(3, 5, False), Timing(0, 1, 2_000), text_sha256(text))
        await self.store.answer(Answer(session, message, self._generation, 1, 9, "00000000", text, end))
        return id


async def get(home: House, id: str, **params: Any) -> Any:
    return await home.client.get(f"{PATH}/{id}", params=params)


async def continued(home: House, id: str, *, forks: bool) -> list[tuple[str, str]]:
    """What the engine is told where somebody goes on from there."""
    async with asking(home, PATH, {"model": "echo", "input": "Now", "previous_response_id": id}) as answer:
        run = await home.run()
        turns: list[tuple[str, str]] = [(turn.role, turn.content) for turn in decode_request(run.lease.request).turns]
        run.done("x")
    body: Json = (await answer).json()
    assert (ResponseId.parse(body["id"]).session != ResponseId.parse(id).session) == forks
    return turns


async def test_it_is_still_there() -> None:
    past = Past()
    await past.session()
    id = await past.answered(head("Hello", instructions="be kind"), "Hi", "r_1")
    async with house(store=past.store) as home:
        body = (await get(home, id)).json()
        assert (body["status"], body["completed_at"], body["instructions"]) == ("completed", 1_700_000_002, "be kind")
        assert body["output"][0]["content"][0]["text"] == "Hi"
        items = (await home.client.get(f"{PATH}/{id}/input_items")).json()["data"]
        assert [item["content"][0]["text"] for item in items] == ["Hello"]
        stream = await get(home, id, stream="true")
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert text_of(events(stream.text)) == "Hi"
        assert events(stream.text)[-1]["response"] == body
        assert (await home.client.post(f"{PATH}/{id}/cancel")).json() == body


async def test_but_not_in_the_pieces_in_which_it_came() -> None:
    past = Past()
    await past.session()
    id = await past.answered(head("Hello"), "Hi", "r_1")
    async with house(store=past.store) as home:
        response = await get(home, id, stream="true", starting_after=2)
        assert (response.status_code, error(response)["code"]) == (400, "events_expired")


async def test_how_it_ended_is_still_known() -> None:
    past = Past()
    await past.session()
    failed = await past.answered(head("a"), "par", "r_1", end=Failed("worker_lost", "Gone.", True))
    open = await past.asked(head("b"), "r_2")
    async with house(store=past.store) as home:
        body = (await get(home, failed)).json()
        assert (body["status"], body["error"]["message"]) == ("failed", "Gone.")
        body = (await get(home, open)).json()
        assert (body["status"], body["error"]["code"]) == ("failed", "server_error")
        assert events((await get(home, open, stream="true")).text)[-1]["type"] == "response.failed"


async def test_a_conversation_goes_on_from_any_of_its_responses() -> None:
    past = Past()
    await past.session()
    before = (Turn("user", "Once"), Turn("assistant", "upon"))
    first = await past.answered(head("Hello", instructions="be kind", before=before), "Hi", "r_1")
    second = await past.answered(head("Bye", previous=first), "Ciao", "r_2")
    third = await past.answered(head("Well", previous=second), "!", "r_3")
    said = [("user", "Once"), ("assistant", "upon"), ("user", "Hello"), ("assistant", "Hi")]
    async with house(store=past.store) as home:
        assert await continued(home, first, forks=True) == [*said, ("user", "Now")]
        assert await continued(home, third, forks=False) == [
            *said,
            ("user", "Bye"),
            ("assistant", "Ciao"),
            ("user", "Well"),
            ("assistant", "!"),
            ("user", "Now"),
        ]


async def test_a_deleted_one_is_gone_but_not_from_what_followed() -> None:
    past = Past()
    await past.session()
    first = await past.answered(head("Hello"), "Hi", "r_1")
    second = await past.answered(head("Bye", previous=first), "Ciao", "r_2")
    async with house(store=past.store) as home:
        assert (await home.client.delete(f"{PATH}/{first}")).json()["deleted"]
        assert (await get(home, first)).status_code == 404
        assert (await get(home, second)).status_code == 200
        assert (await continued(home, second, forks=False))[:2] == [("user", "Hello"), ("assistant", "Hi")]


async def test_alone_it_takes_its_session_with_it() -> None:
    past = Past()
    await past.session()
    id = await past.answered(head("Hello"), "Hi", "r_1")
    async with house(store=past.store) as home:
        await home.client.delete(f"{PATH}/{id}")
        assert await past.store.turns("s_1") == []


async def test_another_owners_and_another_interfaces_do_not_exist() -> None:
    past = Past()
    await past.session(owner="ann")
    await past.session("s_2")
    id = await past.answered(head("Hello"), "Hi", "r_1")
    await past.store.ask(Question("s_2", "m1", "Hello", meta={"response": 7}))
    async with house(store=past.store) as home:
        for wanted in (id, str(ResponseId("s_2", "m1")), str(ResponseId("s_3", "m1"))):
            response = await get(home, wanted)
            assert (response.status_code, error(response)["code"]) == (404, "response_not_found")


async def test_a_store_that_is_away_is_said() -> None:
    past = Past()
    past.store.away = True
    async with house(store=past.store) as home:
        response = await get(home, str(ResponseId("s_1", "r_1")))
        assert (response.status_code, error(response)["code"]) == (503, "store_unavailable")
        assert response.headers["x-should-retry"] == "true"


async def test_what_is_stored_now_is_found_then() -> None:
    store = MemoryStore()
    async with house(store=store) as home:
        bodies: list[Json] = []
        for content in ("Hello", "Bye"):
            previous = {"previous_response_id": bodies[-1]["id"]} if bodies else {}
            async with asking(home, PATH, {"model": "echo", "input": content, **previous}) as answer:
                run = await home.run()
                run.done(content.upper())
            bodies.append((await answer).json())
            id = ResponseId.parse(bodies[-1]["id"])
            end = Done("stop", Usage(1, 2, False), Timing(1, 2, 3), text_sha256(content.upper()))
            await store.answer(Answer(*id, run.lease.generation, 1, 9, run.lease.nonce, content.upper(), end))
        home.memory.state.forget(id.session)
        await until(lambda: not home.gate.hub._sessions)
        for body in bodies:
            assert (await get(home, body["id"])).json() == body
        assert await continued(home, bodies[-1]["id"], forks=False) == [
            ("user", "Hello"),
            ("assistant", "HELLO"),
            ("user", "Bye"),
            ("assistant", "BYE"),
            ("user", "Now"),
        ]


async def test_what_is_not_to_be_stored_is_in_no_history() -> None:
    store = MemoryStore()
    async with house(store=store) as home:
        messages = [{"role": "user", "content": "Hello"}]
        for path, body in (
            (PATH, {"input": "Hello", "store": False}),
            ("/v1/chat/completions", {"messages": messages}),
        ):
            async with asking(home, path, body):
                (await home.run()).done("x")
        assert (await store.sessions("", 10)).sessions == []
        async with asking(home, "/v1/chat/completions", {"messages": messages, "background": True}):
            (await home.run()).done("x")
        assert len((await store.sessions("", 10)).sessions) == 1
