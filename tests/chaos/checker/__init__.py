"""Judges a run of the service by what was recorded. It shares no code with the service, nor with what ran it.

verdict = judge(directory)      # of JSON lines
"""

from pathlib import Path

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.figures import Figures, figures_of
from tests.chaos.checker.hits import Hits, hits_of
from tests.chaos.checker.record import read
from tests.chaos.checker.rules import RULES
from tests.chaos.checker.verdict import Verdict, Violation

__all__ = ["RULES", "Figures", "Hits", "Verdict", "Violation", "judge"]


def judge(directory: Path) -> Verdict:
    """Apply every rule to the records in `directory`. Raises OSError where they cannot be read."""
    evidence = Evidence(read(directory))
    hits = hits_of(evidence)
    violations = [violation for rule in RULES.values() for violation in rule(evidence)]
    return Verdict(violations, hits, evidence.not_run, figures_of(evidence, hits))
