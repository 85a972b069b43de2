"""What a gateway process saw: accepted messages, drained batches, what it wrote to whom, new memories of the broker."""

from typing import Any

from tests.chaos.witness.hooks import Patches, Watching
from tests.chaos.witness.tape import Tape, Tapes


def install(patches: Patches, tapes: Tapes) -> None:
    """Watch the hub and the outboxes."""

    def patch_hub(module: Any) -> None:
        witness, watching = HubWitness(tapes.of("gateway")), Watching(tapes)
        watching.before(module.Hub, "deliver", witness.drained)
        watching.before(module.Hub, "_see_epoch", witness.epoch)

    def patch_submitting(module: Any) -> None:
        witness, watching = HubWitness(tapes.of("gateway")), Watching(tapes)
        watching.before(module.Submitting, "_accepted", witness.accepted)

    def patch_outbox(module: Any) -> None:
        witness, watching = OutboxWitness(tapes.of("gateway")), Watching(tapes)
        watching.after(module.Outbox, "__init__", witness.made)
        watching.before(module.Outbox, "write", witness.wrote)
        watching.after(module.Outbox, "follow", witness.followed)
        watching.before(module.Outbox, "flush", witness.flushed)

    patches.add("gateway.hub", patch_hub)
    patches.add("gateway.submitting", patch_submitting)
    patches.add("gateway.outbox", patch_outbox)


class HubWitness:
    """Sees the calls of gateway.hub.Hub, and those of gateway.submitting.Submitting."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def accepted(self, submitting: Any, session: Any, entry: Any, answer: Any) -> None:
        """The broker has a message."""
        self._tape.write(
            "accepted",
            session=session.id,
            id=entry.ask.id,
            generation=answer.generation,
            repeated=answer.repeated,
        )

    def drained(self, hub: Any, batch: Any) -> None:
        """A batch came."""
        if batch.items or batch.lost:
            self._tape.write("drained", epoch=batch.epoch, lost=batch.lost, items=len(batch.items))

    def epoch(self, hub: Any, epoch: str) -> None:
        """The broker's memory has a name."""
        if hub._epoch != epoch:
            self._tape.write("epoch", **{"from": hub._epoch, "to": epoch})


class OutboxWitness:
    """Sees the calls of gateway.outbox.Outbox, which has no name of its own: they are counted."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._numbers: dict[int, int] = {}  # by identity, which passes on to a later one when an outbox is gone
        self._made = 0

    def made(self, _: None, outbox: Any, *args: Any) -> None:
        """A connection begins."""
        self._made += 1
        self._numbers[id(outbox)] = self._made

    def wrote(self, outbox: Any, item: Any) -> None:
        """An item is about to be written."""
        self._tape.add(
            "wrote",
            connection=self._numbers[id(outbox)],
            session=item.session,
            generation=item.generation,
            attempt=item.attempt,
            first=item.first,
            count=item.count,
            index=item.index,
        )

    def followed(self, written: bool, outbox: Any, item: Any) -> None:
        """One has gone the short way, or has yet to go the usual one."""
        if written:
            self.wrote(outbox, item)

    def flushed(self, outbox: Any, now: float) -> None:
        """It is about to go to the socket: our line goes first."""
        self._tape.flush()
