"""What nobody can complete or read goes to the dead letters with its reason, and nothing stops."""

import os
import subprocess
import sys

import pytest

from shared.brokers.redis.__main__ import main, run
from shared.brokers.redis.dead import letters, replay
from shared.brokers.redis.link import RedisLink
from shared.brokers.sides import GatewaySide, WorkerSide
from shared.errors import InvalidMessage
from shared.messages import Failed, text_of
from tests.contracts.brokers import Attempt, Back, Front
from tests.redis_server import RedisServer
from tests.shared.brokers.redis.conftest import Open

KEYS = "{llm-chat}:"


async def sides(link: Open) -> tuple[Front, Back]:
    front = Front(GatewaySide(await link("gateway"), "gateway"))
    await front.drain()  # which begins without subscriptions
    await front.chat()
    return front, Back(WorkerSide(await link("worker-1"), "worker-1"))


async def lose(front: Front, back: Back) -> None:
    """A message that takes every worker with it."""
    await front.submit("m1")
    for alone in (False, False, True):
        back.seen, back.held = 0, []
        await back.lease(alone)
        await back.side.bury("worker-1")
    back.seen, back.held = 0, []
    await front.drain_end("m1")


async def all_letters(link: RedisLink) -> list[dict[str, bytes]]:
    return [letter.fields async for letter in letters(link)]


async def test_a_lost_message_is_kept_and_can_be_submitted_anew(link: Open) -> None:
    front, back = await sides(link)
    await lose(front, back)
    reader = await link("reader")
    (letter,) = [letter async for letter in letters(reader)]
    assert (letter.fields["reason"], letter.fields["id"], letter.fields["request"]) == (
        b"worker_lost",
        b"m1",
        b"request m1",
    )
    id = await replay(reader, letter)
    attempt = await back.lease()
    assert (attempt.lease.id, attempt.lease.request, attempt.lease.session) == (id, b"request m1", "s")
    await attempt.add("text", end=True)
    assert text_of(item for item in await front.kept() if item.id == id) == "text"
    assert await all_letters(reader) == []


async def test_also_where_its_session_is_gone_but_not_where_that_was_forgotten(link: Open, server: RedisServer) -> None:
    front, back = await sides(link)
    await lose(front, back)
    reader = await link("reader")
    (letter,) = [letter async for letter in letters(reader)]
    for key in sorted(server.keys()):
        if key.startswith((f"{KEYS}s:", f"{KEYS}m:", f"{KEYS}k:", f"{KEYS}r:", f"{KEYS}x:", f"{KEYS}idle")):
            server.run("DEL", key)
    await replay(reader, letter)
    lease = (await back.lease()).lease
    assert lease.generation > int(letter.fields["generation"])
    await back.side.release([lease.number])
    await lose_again(front, back)
    assert len(await all_letters(reader)) == 1
    await front.side.forget("s")
    assert await all_letters(reader) == []


async def lose_again(front: Front, back: Back) -> None:
    for alone in (False, False, True):
        back.seen, back.held = 0, []
        await back.lease(alone)
        await back.side.bury("worker-1")


async def test_an_entry_of_the_queue_that_names_nothing(link: Open, server: RedisServer) -> None:
    front, back = await sides(link)
    for entry in ("rubbish", "17:nobody", b"\xff\xfe"):
        server.run("RPUSH", f"{KEYS}retries", entry)
        server.run("ZADD", f"{KEYS}waiting", 1, entry)
    server.run("ZADD", f"{KEYS}held", 1, "no number")
    server.run("ZADD", f"{KEYS}ended", 1, "nonsense")
    await front.submit("m1")
    attempt = await back.lease()
    assert attempt.lease.id == "m1"
    await attempt.add("text", end=True)
    await front.drain_end("m1")
    while len(found := await all_letters(await link("reader"))) < 5:
        await front.drain()
    assert {fields["entry"] for fields in found} == {b"rubbish", b"17:nobody", b"\xff\xfe", b"no number", b"nonsense"}
    assert all(fields["reason"] for fields in found)
    with pytest.raises(InvalidMessage):
        await replay(await link("reader"), await anext(letters(await link("reader"))))


async def test_a_message_whose_request_is_gone_ends(link: Open, server: RedisServer) -> None:
    front, back = await sides(link)
    accepted = await front.submit("m1")
    server.run("HDEL", f"{KEYS}r:s:{accepted.generation}", "request")
    await back.idle()
    assert await front.drain_end("m1") == Failed("internal", "Something went wrong inside the service.", True)
    await front.submit("m2")
    assert (await back.lease()).lease.id == "m2"


async def test_an_item_that_cannot_be_read_is_lost_and_said(link: Open, server: RedisServer) -> None:
    front, back = await sides(link)
    await front.submit("m1")
    attempt = await back.lease()
    await attempt.add("one ")
    ((id, _),) = server.run("XRANGE", f"{KEYS}x:s", "-", "+")
    generation, seq = id.decode().split("-")
    server.run("XADD", f"{KEYS}x:s", f"{generation}-{int(seq) + 1}", "i", b"\xc1 rubbish", "c", 1, "b", 9)
    await attempt.add("two ")
    first = front.items[0] if front.items else (await front.drain()).items[0]
    page = await front.side.read("s", first.cursor, 1 << 20)
    assert (page.recovered, [item.index for item in page.items]) == (False, [1])
    assert await attempt.add("three", end=True) == []
    page = (await front.side.attach("s", page.items[0].cursor)).page
    assert (page.recovered, [item.index for item in page.items]) == (True, [2])
    (letter,) = await all_letters(await link("reader"))
    assert (letter["reason"], letter["item i"]) == (b"an item cannot be read", b"\xc1 rubbish")


async def test_an_item_on_its_way_that_cannot_be_read_costs_the_subscriptions(link: Open, server: RedisServer) -> None:
    front, back = await sides(link)
    await front.submit("m1")
    attempt = await back.lease()
    server.run("RPUSH", f"{KEYS}gw:gateway:o", b"\xc1 rubbish")
    await attempt.add("text ")
    assert (await front.drain()).lost
    assert len((await front.side.attach("s", None)).page.items) == 1
    await attempt.add("more", end=True)
    await front.drain_end("m1")


async def test_the_command_lists_and_replays(
    link: Open, server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_CHAT_BROKER_URL", server.url)

    async def command(*words: str) -> tuple[int, str]:
        return await run(words), capsys.readouterr().out

    front, back = await sides(link)
    await lose(front, back)
    status, listed = await command("dead", "list")
    id = listed.split()[0]
    assert (status, "reason=worker_lost" in listed, "request m1" in listed) == (0, True, False)
    assert (await command("dead", "replay", "1-1"))[0] == 1
    status, said = await command("dead", "replay", id)
    assert (status, said.startswith(f"{id}: submitted as replay-")) == (0, True)
    assert (await back.lease()).lease.request == b"request m1"
    assert await command("dead", "list") == (0, "")
    assert await command("dead", "replay", "--all") == (0, "")


def test_the_command_as_a_program(server: RedisServer) -> None:
    environment = {**os.environ, "LLM_CHAT_BROKER_URL": server.url}
    words = (sys.executable, "-m", "shared.brokers.redis", "dead", "list")
    ran = subprocess.run(words, capture_output=True, timeout=15, env=environment)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["dead"], ["dead", "replay"], ["alive", "list"]):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith("usage: ")


async def test_a_reply_that_cannot_be_written_is_fenced(link: Open, server: RedisServer) -> None:
    """Its stream is of another kind now."""
    front, back = await sides(link)
    await front.side.open("t", "ann", None, None)
    attempts: list[Attempt] = []
    for session in ("s", "t"):
        await front.submit("m1", session)
        attempts.append(await back.lease())
    server.run("DEL", f"{KEYS}x:s")
    server.run("SET", f"{KEYS}x:s", "rubbish")
    refusals = await back.side.append([attempt.flush("text") for attempt in attempts])
    assert [(refusal.place, refusal.reason) for refusal in refusals] == [(0, "fenced")]
    (letter,) = await all_letters(await link("reader"))
    assert letter["reason"].startswith(b"a reply cannot be written: ")
