"""Brokers by URL. The only place that names a concrete one; each is imported when it is asked for."""

from shared.broker import GatewayBroker, NoBroker, WorkerBroker
from shared.settings import Settings

FORMS = "manager:, manager:///some/dir or redis://user:password@host:6379/0"
REDIS = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
NOT_INSTALLED = "the Redis broker needs the package hiredis: pip install 'llm-chat[redis]'"


async def open_gateway_broker(settings: Settings, name: str, *, patient: bool = False) -> GatewayBroker:
    """The broker of `settings.broker.url` for a gateway process; the embedded one is started where none listens.

    Raises ValueError, with a sentence for the operator, where the address cannot be used, and NoBroker where no server
    serves us there. `patient`: the latter only where waiting will not mend it; otherwise it is linked to when it is
    there.
    """
    if _scheme(settings.broker.url) in REDIS:
        _check_installed()
        from shared.brokers.redis import opening

        return await opening.open_gateway(settings, name, patient=patient)
    from shared.brokers.manager.opening import open_gateway

    return await open_gateway(settings, name)


async def open_worker_broker(settings: Settings, name: str, *, patient: bool = False) -> WorkerBroker:
    """The same for a worker process, which never starts a broker; for the embedded one it waits in any case."""
    if _scheme(settings.broker.url) in REDIS:
        _check_installed()
        from shared.brokers.redis import opening

        return await opening.open_worker(settings, name, patient=patient)
    from shared.brokers.manager.opening import open_worker

    return await open_worker(settings, name)


async def check_broker(settings: Settings) -> None:
    """Raise what opening would, for whoever starts processes that do so. The embedded broker is their own affair."""
    if _scheme(settings.broker.url) in REDIS:
        await (await open_worker_broker(settings, "check")).close()


def _scheme(url: str) -> str:
    """Raises ValueError where no broker goes by it."""
    scheme = url.partition(":")[0]
    if scheme not in ("manager", *REDIS):
        raise ValueError(f"no broker is known for {scheme!r}: LLM_CHAT_BROKER_URL may be {FORMS}")
    return scheme


def _check_installed() -> None:
    try:
        import hiredis  # noqa: F401
    except ImportError:
        raise NoBroker(NOT_INSTALLED) from None
