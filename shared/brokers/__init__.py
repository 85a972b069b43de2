"""Brokers by URL. The only place that names a concrete one; each is imported when it is asked for."""

from shared.broker import GatewayBroker, WorkerBroker
from shared.settings import Settings


async def open_gateway_broker(settings: Settings, name: str) -> GatewayBroker:
    """The broker of `settings.broker.url` for a gateway process; the embedded one is started where none listens.

    Raises ValueError, with a sentence for the operator, where the address cannot be used.
    """
    _check_scheme(settings.broker.url)
    from shared.brokers.manager.opening import open_gateway

    return await open_gateway(settings, name)


async def open_worker_broker(settings: Settings, name: str) -> WorkerBroker:
    """The same for a worker process, which never starts a broker but waits for one."""
    _check_scheme(settings.broker.url)
    from shared.brokers.manager.opening import open_worker

    return await open_worker(settings, name)


def _check_scheme(url: str) -> None:
    scheme = url.partition(":")[0]
    if scheme != "manager":
        raise ValueError(
            f"no broker is known for {scheme!r}: LLM_CHAT_BROKER_URL may be manager: or manager:///some/dir"
        )
