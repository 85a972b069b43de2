"""The service while Redis fails over: sentinels promote the replica, and nobody here is started again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.processes.client import JsonClient, echo_of, sha256, text_of
from tests.processes.service import Gateway, running_service
from tests.redis_house import House

CHUNKS = 60
SETTINGS = {"LLM_CHAT_ECHO_CHUNKS": str(CHUNKS), "LLM_CHAT_ECHO_INTERVAL": "0.05"}


class Reader:
    """A client that keeps to docs/protocol.md: what it is told of a loss it believes."""

    def __init__(self, client: JsonClient, content: str) -> None:
        self.client = client
        self.content = content
        self.losses = 0
        self.pieces = 0  # of the present reply

    async def ask(self, id: str) -> dict[str, Any]:
        """Returns the end of the reply, whose text is what it should be."""
        await self._say(id)
        kept: list[dict[str, Any]] = []
        while not kept or kept[-1]["type"] != "done":
            frame = await self.client.next()
            assert frame["type"] != "error", frame
            if frame["type"] == "session" and not frame["recovered"]:
                self.losses += 1
                kept.clear()
                await self._say(id)  # in doubt the same id again
            elif frame.get("id") == id:
                kept.append(frame)
            self.pieces = sum(frame["type"] == "delta" for frame in kept)
        assert text_of(kept) == echo_of(self.content, CHUNKS)
        assert kept[-1]["text_sha256"] == sha256(text_of(kept))
        return kept[-1]

    async def _say(self, id: str) -> None:
        await self.client.say("message", id=id, content=self.content)


async def readers(gateway: Gateway, count: int) -> list[Reader]:
    return [Reader(await JsonClient.open(gateway.ws), f"reader {number}") for number in range(count)]


async def under_way(told: list[Reader]) -> None:
    """All of them have some of it."""
    while True:
        if all(reader.pieces > 5 for reader in told):
            return
        await asyncio.sleep(0.01)


async def fail_over(directory: Path, sentinels: int, count: int, *, loses: bool) -> list[Reader]:
    """Kill the master, and the first sentinel where there are several, while everybody is being told something."""
    house = House(sentinels)
    try:
        with running_service(directory, LLM_CHAT_BROKER_URL=house.url, **SETTINGS) as service:
            gateway, worker = service.gateway(), service.worker()
            service.ready(gateway)
            told = await readers(gateway, count)
            asking = [asyncio.ensure_future(reader.ask("m1")) for reader in told]
            await under_way(told)
            if loses:
                house.lose_replication()
                await asyncio.sleep(0.3)
            if sentinels > 1:
                house.sentinels[0].kill()
            house.master.kill()
            house.replica.go_on()
            await asyncio.gather(*asking)
            assert house.promoted
            await asyncio.gather(*(reader.ask("m2") for reader in told))
            for reader in told:
                await reader.client.close()
            for process in (gateway.process, worker):
                assert process.stop() == 0
                assert "Traceback" not in process.text(), process.text()
            return told
    finally:
        house.remove()


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize("sentinels", [1, 3])
async def test_what_was_not_replicated_is_said_and_the_replies_go_on(tmp_path: Path, sentinels: int) -> None:
    told = await fail_over(tmp_path, sentinels, 20, loses=True)
    assert [reader.losses for reader in told] == [1] * len(told)


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_replies_go_on_with_the_promoted_replica(tmp_path: Path) -> None:
    """Of a replication that keeps up little is lost, if anything; either way each text is whole."""
    await fail_over(tmp_path, 3, 20, loses=False)
