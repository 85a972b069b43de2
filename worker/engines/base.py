"""What an engine is: something that turns a request into pieces of text, pushed into a sink.

Engines push from the event loop's thread and never wait for the reader: a piece costs one call, not one task wake-up.
One that is easier written as an async generator uses `from_generator`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal, NamedTuple, Protocol

from shared.errors import ChatError, EngineError
from shared.messages import Usage
from shared.request import GenerationRequest


class Job(NamedTuple):
    """One attempt at an answer to the message `id` of a session. `text`, `pieces` and `tokens` are what stands already:
    empty, unless the engine `continues`."""

    request: GenerationRequest
    text: str = ""
    pieces: int = 0
    tokens: int = 0
    session: str = ""
    id: str = ""


class Sink(Protocol):
    """Where an attempt's output goes. After `finish`, `fail` or an abort every further call is ignored."""

    @property
    def congested(self) -> bool:
        """Whether so much is unsent that a polite engine waits for `relief`."""
        ...

    async def relief(self) -> None:
        """Return when the sink is no longer congested, or no longer wants anything."""
        ...

    def prompt(self, tokens: int) -> None:
        """How long the prompt is, by an estimate, where the request alone does not tell."""
        ...

    def restart(self) -> None:
        """What stands is void, the reply begins again: for an engine that `continues`, but not this job. Only before
        any piece of its own."""
        ...

    def piece(self, text: str, tokens: int = 1) -> None:
        """The next piece of text: one delta, one cursor, one plain frame, for ever. Empty ones are dropped."""
        ...

    def finish(self, reason: Literal["stop", "length"], usage: Usage | None = None) -> None:
        """The reply is complete. Without `usage` it is estimated from the pieces."""
        ...

    def fail(self, error: ChatError) -> None:
        """The reply cannot be completed."""
        ...


Start = Callable[[Job, Sink], Callable[[], None]]  # see Engine.start


class Engine(Protocol):
    """A source of text. One object per engine process, shared by all its attempts."""

    model: str  # the name that `started` shows when the request asks for none
    continues: bool  # whether it goes on behind `Job.text` so that the whole is what one attempt would have written;
    # what it cannot go on with it begins again, by `Sink.restart`
    contextual: bool  # whether it reads the earlier turns of a conversation, or only its newest message
    blocks: bool  # whether it may hold up the event loop: then the supervisor renews its leases
    slots: int  # how many attempts it runs at once when the settings do not say
    first_piece_limit: float  # seconds without a first piece after which an attempt's lease is renewed no longer
    next_piece_limit: float  # the same, between two pieces

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """Begin; returns the abort, which stops the work at once, may be called at any time and more than once."""
        ...

    async def close(self) -> None:
        """Give back what the engine holds: connections, models."""
        ...


def from_generator(
    generate: Callable[[Job], AsyncIterator[str]],
) -> Start:
    """An engine's `start` made of an async generator of pieces. A ChatError it raises fails the reply with that code,
    anything else with `engine_error`."""

    async def run(job: Job, sink: Sink) -> None:
        try:
            async for text in generate(job):
                sink.piece(text)
                if sink.congested:
                    await sink.relief()
            sink.finish("stop")
        except ChatError as error:
            sink.fail(error)
        except Exception:
            sink.fail(EngineError())

    def start(job: Job, sink: Sink) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(run(job, sink))

        def abort() -> None:
            task.cancel()

        return abort

    return start
