"""From settings to a linked peer."""

from shared.broker import NoBroker
from shared.brokers.limits import limits_of
from shared.brokers.redis import address, sentinels
from shared.brokers.redis.link import RedisLink
from shared.brokers.redis.trouble import Trouble
from shared.brokers.sides import GatewaySide, WorkerSide
from shared.settings import Settings


def place_of(url: str) -> address.Place:
    """Where the server is to be looked for. Raises ValueError, with a sentence for the operator."""
    return sentinels.parse(url) if url.startswith(sentinels.SCHEMES) else address.parse(url)


async def open_link(settings: Settings, name: str, *, patient: bool) -> RedisLink:
    """Link. Raises NoBroker; if `patient`, only where waiting will not mend it."""
    try:
        link = RedisLink(place_of(settings.broker.url), limits_of(settings), name)
    except ValueError as error:
        raise NoBroker(str(error)) from None
    try:
        await link.connect()
    except Trouble as found:
        if found.lasting or not patient:
            raise NoBroker(str(found)) from None
        link.start()
    return link


async def open_gateway(settings: Settings, name: str, *, patient: bool) -> GatewaySide:
    """See shared.brokers.open_gateway_broker."""
    return GatewaySide(await open_link(settings, name, patient=patient), name)


async def open_worker(settings: Settings, name: str, *, patient: bool) -> WorkerSide:
    """See shared.brokers.open_worker_broker."""
    return WorkerSide(await open_link(settings, name, patient=patient), name)
