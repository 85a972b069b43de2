"""From settings to a linked peer."""

import asyncio
from multiprocessing import AuthenticationError

from shared.brokers.manager.daemon import Daemon
from shared.brokers.manager.home import Home
from shared.brokers.manager.link import ManagerLink
from shared.brokers.sides import GatewaySide, WorkerSide
from shared.settings import Settings

START_SECONDS = 10.0  # for a broker process to come up
_PAUSE = 0.02


async def open_gateway(settings: Settings, name: str) -> GatewaySide:
    """Start the broker where none listens and we may, and link. Raises ValueError where the address cannot be used."""
    home = Home.of_url(settings.broker.url)
    home.prepare()
    daemon = Daemon(home, settings.environment()) if settings.broker.embedded else None
    link = ManagerLink(home, name, daemon)
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        try:
            await link.connect()
            return GatewaySide(link, name)
        except AuthenticationError:
            raise ValueError(f"the broker that is running in {home.directory} has another key") from None
        except (FileNotFoundError, ConnectionRefusedError):
            if daemon is None:
                break
            daemon()
        except (OSError, EOFError):
            pass  # it is there but does not answer yet
        await asyncio.sleep(_PAUSE)
    link.start()  # it may still come; readyz says that it is missing
    return GatewaySide(link, name)


async def open_worker(settings: Settings, name: str) -> WorkerSide:
    """Link in the background, whenever a broker is there. Raises ValueError where the URL names no directory."""
    home = Home.of_url(settings.broker.url)
    link = ManagerLink(home, name)
    link.start()
    return WorkerSide(link, name)
