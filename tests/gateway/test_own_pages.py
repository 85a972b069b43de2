import pytest

from tests.gateway.housing import house

FOREIGN, LISTED = "https://evil.example", "https://chat.example"


@pytest.mark.parametrize("path", ["/api/sessions", "/api/sessions/s/messages/m/cancel", "/api/chat/c/stop"])
async def test_a_foreign_page_changes_nothing(path: str) -> None:
    async with house(origins=(LISTED,)) as here:
        answer = await here.client.post(path, headers={"origin": FOREIGN})

        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
        assert here.memory.state.stats().sessions == 0


async def test_its_own_page_a_listed_one_and_programs_do() -> None:
    async with house(origins=(LISTED,)) as here:
        for headers in ({"origin": f"http://127.0.0.1:{here.gate.port}"}, {"origin": LISTED}, {}):
            assert (await here.client.post("/api/sessions", headers=headers)).status_code == 201


async def test_what_only_reads_is_answered_for_the_browser_to_withhold() -> None:
    async with house() as here:
        answer = await here.client.get("/livez", headers={"origin": FOREIGN})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_a_listed_page_may_read_and_ask_with_json() -> None:
    async with house(origins=(LISTED,)) as here:
        read = await here.client.get("/api/sessions/s/events", headers={"origin": LISTED})
        asked = {"access-control-request-method": "DELETE", "access-control-request-headers": "content-type"}
        preflight = await here.client.options("/api/sessions/s", headers={"origin": LISTED, **asked})
        foreign = await here.client.options("/api/sessions/s", headers={"origin": FOREIGN, **asked})

    assert read.headers["access-control-allow-origin"] == LISTED
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == LISTED
    assert "DELETE" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in foreign.headers
