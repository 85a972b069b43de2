"""How a reply ends, in the words of the protocol: pure functions over what an attempt knows."""

from shared.errors import ChatError
from shared.messages import Done, Failed, FinishReason, Lease, Receipt, Tally, Timing, Usage, text_sha256
from shared.request import GenerationRequest
from shared.window import tokens_in


def prompt_tokens(request: GenerationRequest) -> int:
    """An estimate from the characters of the context."""
    return tokens_in(sum(len(turn.content) for turn in request.turns))


def usage(tally: Tally, counted: Usage | None, before: Tally | None) -> Usage:
    """What the engine counted, else the tally. `before`: what stood when the engine went on with another's reply; it
    counted only its own part then."""
    if counted is None:
        return Usage(tally.prompt_tokens, tally.tokens, estimated=True)
    if before is None:
        return counted
    return Usage(before.prompt_tokens, before.tokens + counted.completion_tokens, estimated=True)


def complete(lease: Lease, reason: FinishReason, usage: Usage, tally: Tally, total_ms: int, text: str) -> Done:
    """The terminal of a reply that stands as `text`."""
    return Done(reason, usage, Timing(lease.queue_ms, tally.first_token_ms, total_ms), text_sha256(text))


def cancelled(lease: Lease, tally: Tally, total_ms: int, text: str, generated: int, stop_ms: int) -> Done:
    """The terminal of a reply that the user stopped. `tally` and `text`: what the broker has acknowledged."""
    timing = Timing(lease.queue_ms, tally.first_token_ms, total_ms)
    receipt = Receipt(generated, tally.pieces, stop_ms)
    return Done("cancelled", usage(tally, None, None), timing, text_sha256(text), receipt)


def failed(error: ChatError) -> Failed:
    """The terminal of a reply that cannot be completed."""
    return Failed(error.code, mended(error.message), error.retryable)


def mended(text: str) -> str:
    """`text` with a replacement character for each lone surrogate, which no UTF-8 can carry."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
