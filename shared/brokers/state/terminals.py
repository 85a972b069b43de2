"""Terminals that the broker itself must make: true to what was stored, and above every attempt."""

from shared.brokers.state.reply import Reply
from shared.errors import ChatError
from shared.messages import (
    Done,
    Failed,
    FinishReason,
    Flag,
    Item,
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


def terminal_item(reply: Reply, event: Done | Failed) -> Item:
    """The item of an attempt of the broker's own, which holds nothing but the terminal."""
    reply.begin_attempt()
    return Item(
        reply.session.id,
        reply.generation,
        reply.attempt,
        reply.nonce,
        reply.id,
        0,
        1,
        int(Flag.TERMINAL),
        reply.tally,
        encode_events([event]),
    )
