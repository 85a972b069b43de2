"""What a run is found to be."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.chaos.checker.figures import Figures
from tests.chaos.checker.hits import Hits
from tests.chaos.checker.violation import Violation

__all__ = ["Verdict", "Violation"]


class Verdict(NamedTuple):
    """`hits` by name of fault; `not_run` holds the faults that could not be caused, by name with the reason."""

    violations: Sequence[Violation]
    hits: dict[str, Hits]
    not_run: dict[str, str]
    figures: Figures

    @property
    def passed(self) -> bool:
        """Whether every rule held. What could not be caused is no pass: see `not_run`."""
        return not self.violations

    @property
    def broken(self) -> set[str]:
        """The names of the rules that did not hold."""
        return {violation.rule for violation in self.violations}
