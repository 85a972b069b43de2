"""What a broker goes by, whichever it is."""

from shared.brokers.state import Limits
from shared.settings import Settings


def limits_of(settings: Settings) -> Limits:
    """The bounds that the settings ask for."""
    return Limits(
        queue=settings.queue.limit,
        queue_timeout=settings.queue.timeout,
        lease=settings.lease.seconds,
        max_attempts=settings.max_attempts,
        retention=settings.reply.retention,
        session_bytes=settings.reply.max_bytes,
    )
