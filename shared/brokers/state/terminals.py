"""Terminals that the broker itself must make: true to what was stored, and above every attempt."""

from shared.brokers.state.reply import Reply
from shared.errors import ChatError
from shared.messages import (
    TERMINAL,
    Done,
    Failed,
    FinishReason,
    Flush,
    Receipt,
    Timing,
    Usage,
    encode_events,
    text_sha256,
)


def done(reply: Reply, reason: FinishReason, now: float) -> Done:
    """The end of a reply that stands as it is."""
    tally = reply.tally
    usage = Usage(tally.prompt_tokens, tally.tokens, estimated=True)
    queue_ms = reply.since_accepted_ms(now if reply.leased_at is None else reply.leased_at)
    timing = Timing(queue_ms, tally.first_token_ms, reply.since_accepted_ms(now))
    receipt = None
    if reason == "cancelled":
        untouched = reply.leased_at is None
        receipt = Receipt(0 if untouched else None, tally.pieces, 0 if untouched else None)
    return Done(reason, usage, timing, text_sha256(reply.text()), receipt)


def failed(error: ChatError) -> Failed:
    """The end of a reply that cannot be completed."""
    return Failed(error.code, error.message, error.retryable)


def flush(reply: Reply, event: Done | Failed) -> Flush:
    """All of an attempt of the broker's own, which holds nothing but the terminal and needs no lease."""
    reply.begin_attempt()
    return Flush(0, 0, 1, TERMINAL, reply.tally, encode_events([event]))
