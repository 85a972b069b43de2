"""The way in: both connections of a peer, looked at and greeted before they are used."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shared.brokers.redis import trouble
from shared.brokers.redis.address import Address
from shared.brokers.redis.scripts import META, WAKE, Script
from shared.brokers.redis.wire import Wire, open_wire

ENTER_SECONDS = 6.0
MOST_MOVES = 5  # from server to server of a cluster


class Pair(NamedTuple):
    """`calls` for what is asked, `wakes` for what is told."""

    calls: Wire
    wakes: Wire

    def close(self) -> None:
        """Once what was sent is on its way."""
        self.calls.close()
        self.wakes.close()

    def abort(self) -> None:
        """Now."""
        self.calls.abort()
        self.wakes.abort()


async def enter(
    address: Address,
    name: str,
    scripts: Mapping[str, Script],
    on_lost: Callable[[Wire], None],
    on_push: Callable[[Any], None],
) -> Pair:
    """Connect twice, on the server that has our keys. Raises trouble.Trouble."""
    try:
        async with asyncio.timeout(ENTER_SECONDS):
            return await _enter(address, name, scripts, on_lost, on_push)
    except (ConnectionResetError, TimeoutError) as error:
        raise trouble.of_exception(address, error) from None


async def _enter(
    address: Address,
    name: str,
    scripts: Mapping[str, Script],
    on_lost: Callable[[Wire], None],
    on_push: Callable[[Any], None],
) -> Pair:
    for _ in range(MOST_MOVES):
        calls = await open_wire(address, name, on_lost)
        try:
            await _greet(calls, scripts)
            wakes = await open_wire(address, f"{name}/wakes", on_lost, on_push)
            pair = Pair(calls, wakes)
        except trouble.Moved as moved:
            calls.abort()
            address = address.at(moved.host, moved.port)
            continue
        except BaseException:
            calls.abort()
            raise
        try:
            await wakes.ask(b"SUBSCRIBE", WAKE + name)
        except BaseException:
            pair.abort()
            raise
        return pair
    raise trouble.Trouble(f"the Redis cluster at {address.shown} does not say where our keys are: look at its slots")


async def _greet(wire: Wire, scripts: Mapping[str, Script]) -> None:
    """See that it is new enough, that it has the scripts, and whether its memory is the one we know."""
    about = await _about(wire, b"server")
    if trouble.too_old(about.get("redis_version", "0")):
        raise trouble.of_version(wire.address, about.get("redis_version", "of an unknown version"))
    about |= await _about(wire, b"replication")
    if wire.address.found and about.get("role") != "master":
        raise trouble.of_replica(wire.address)
    wanted = list(scripts.values())
    there = await wire.ask(b"SCRIPT", b"EXISTS", *(script.sha for script in wanted))
    for script, known in zip(wanted, there, strict=True):
        if not known:
            await wire.ask(b"SCRIPT", b"LOAD", script.source)
    life = f"{about['run_id']}.{about.get('master_replid', '')}"  # the latter changes with every promotion
    words = (life, secrets.token_hex(8), str(secrets.randbits(40)))
    await wire.ask(b"EVALSHA", scripts["greet"].sha, b"1", META, *words)


async def _about(wire: Wire, section: bytes) -> dict[str, str]:
    lines = (await wire.ask(b"INFO", section)).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
