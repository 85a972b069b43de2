"""The rules that every run must keep, by name. Each takes the evidence and yields what breaks it."""

from collections.abc import Callable, Iterable

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.rules.content import canary, sha256, text
from tests.chaos.checker.rules.endings import accepted_one_terminal, nothing_after_cancel, nothing_after_terminal
from tests.chaos.checker.rules.errors import no_error
from tests.chaos.checker.rules.losses import loss_is_said, loss_is_true
from tests.chaos.checker.rules.order import contiguous, replay_equals_live, zombie_invisible
from tests.chaos.checker.rules.plain import plain_order
from tests.chaos.checker.rules.run import fault_hit, load, quiet_is_empty, witness
from tests.chaos.checker.rules.waiting import no_hang
from tests.chaos.checker.rules.work import idempotent, stop_stops
from tests.chaos.checker.violation import Violation

Rule = Callable[[Evidence], Iterable[Violation]]
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        accepted_one_terminal,
        no_error,
        contiguous,
        nothing_after_terminal,
        nothing_after_cancel,
        text,
        sha256,
        canary,
        plain_order,
        replay_equals_live,
        loss_is_said,
        loss_is_true,
        no_hang,
        idempotent,
        zombie_invisible,
        stop_stops,
        quiet_is_empty,
        fault_hit,
        load,
        witness,
    )
}
