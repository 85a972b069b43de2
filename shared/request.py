"""What an engine is asked: to the broker it is bytes. A leaf, as shared.messages."""

from collections.abc import Iterable
from typing import Literal

import msgspec


class Params(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sampling parameters, as clients send them; None leaves the choice to the engine."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: str | tuple[str, ...] | None = None
    seed: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """One entry of the context."""

    role: Literal["system", "user", "assistant"]
    content: str


class GenerationRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that an engine needs: engines keep no state of their own. To the broker it is bytes. `stored`: the message
    is in the store, where its answer is to go too, before its terminal is visible. `room`: so many characters
    of the conversation before it are to go in front of its message, which is all that `turns` has besides a system
    prompt then; whoever runs it takes them from the store."""

    turns: tuple[Turn, ...]
    model: str | None = None
    params: Params = Params()
    stored: bool = False
    room: int = 0

    def behind(self, earlier: Iterable[Turn]) -> "GenerationRequest":
        """The same with its conversation."""
        return msgspec.structs.replace(self, turns=(*self.turns[:-1], *earlier, self.turns[-1]), room=0)


_request_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(GenerationRequest)


def encode_request(request: GenerationRequest) -> bytes:
    """The bytes that travel in a Submission and a Lease."""
    return _request_encoder.encode(request)


def decode_request(data: bytes) -> GenerationRequest:
    """The inverse; raises msgspec.DecodeError."""
    return _request_decoder.decode(data)
