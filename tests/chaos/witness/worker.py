"""What an engine process saw: leases, beginnings, what came of each append, cancels, aborts, late pieces."""

from typing import Any

from tests.chaos.witness.hooks import Patches, Watching
from tests.chaos.witness.tape import Tape, Tapes

MOST_LATE = 50  # records of one process: an engine that cannot be stopped is known by fewer


def install(patches: Patches, tapes: Tapes) -> None:
    """Watch runs and the flusher."""

    def patch_run(module: Any) -> None:
        witness, watching = RunWitness(tapes.of("worker")), Watching(tapes)
        watching.after(module.Run, "__init__", witness.leased)
        watching.after(module.Run, "begin", witness.begun)
        watching.before(module.Run, "piece", witness.piece)
        watching.before(module.Run, "abort", witness.aborted)
        witness.watch_cancel(module.Run, tapes)

    def patch_flusher(module: Any) -> None:
        witness, watching = FlusherWitness(tapes.of("worker")), Watching(tapes)
        watching.before(module.Flusher, "_tell", witness.answered)
        watching.before(module.Flusher, "_repeat", witness.unknown)

    patches.add("worker.run", patch_run)
    patches.add("worker.flusher", patch_flusher)


def attempt_of(lease: Any) -> dict[str, Any]:
    """What names the attempt of a lease."""
    return {
        "session": lease.session,
        "id": lease.id,
        "generation": lease.generation,
        "attempt": lease.attempt,
        "nonce": lease.nonce,
    }


def generated(run: Any) -> int:
    """The pieces that the engine has made of the reply, with those that the lease brought."""
    return int(run._base.pieces) + len(run._texts)


class RunWitness:
    """Sees the calls of worker.run.Run."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._late = 0

    def leased(self, _: None, run: Any, lease: Any, *args: Any) -> None:
        """A lease is here, its engine has not begun."""
        self._tape.write("leased", **attempt_of(lease), pieces=lease.tally.pieces, visible=lease.visible)

    def begun(self, _: None, run: Any) -> None:
        """The engine is at work."""
        self._tape.write("begun", **attempt_of(run.lease))

    def piece(self, run: Any, text: str, tokens: int = 1) -> None:
        """The engine gives something to a run that wants nothing any more: it has not stopped."""
        if not run._open and self._late < MOST_LATE:
            self._late += 1
            self._tape.write("late_piece", **attempt_of(run.lease), cancelled=run._receipt is not None)

    def aborted(self, run: Any) -> None:
        """The lease is lost."""
        if not run.over:
            self._tape.write("aborted", **attempt_of(run.lease), generated=generated(run))

    def watch_cancel(self, owner: Any, tapes: Tapes) -> None:
        """The counter is read before the call, which drops pieces; the time behind it, when the engine stands."""
        count = 0
        fresh = False

        def before(run: Any, age_ms: int) -> None:
            nonlocal count, fresh
            fresh = not run.over and run._receipt is None
            count = generated(run)

        def after(_: None, run: Any, age_ms: int) -> None:
            if fresh:
                self._tape.write("heard_cancel", **attempt_of(run.lease), age_ms=age_ms, generated=count)

        Watching(tapes).before(owner, "cancel", before)
        Watching(tapes).after(owner, "cancel", after)


class FlusherWitness:
    """Sees the calls of worker.flusher.Flusher."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def answered(self, flusher: Any, refusals: Any) -> None:
        """The broker has answered an append."""
        refused = {refusal.place: refusal.reason for refusal in refusals}
        for place, (run, flush) in enumerate(zip(flusher._flying, flusher._flushes, strict=True)):
            self._append(run.lease, flush, refused.get(place, "ok"))
        self._tape.flush()

    def unknown(self, flusher: Any) -> None:
        """The link broke: the flushes may be stored or not, and are sent again."""
        for run, flush in zip(flusher._flying, flusher._flushes, strict=True):
            self._append(run.lease, flush, "unknown")
        self._tape.flush()

    def _append(self, lease: Any, flush: Any, answer: str) -> None:
        self._tape.add(
            "append",
            **attempt_of(lease),
            first=flush.first,
            count=flush.count,
            flags=flush.flags,
            pieces=flush.tally.pieces,
            answer=answer,
        )
