"""What a run has shown, in words and figures."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.checker import RULES, Hits, Verdict
from tests.chaos.figure import Figure
from tests.chaos.options import Options

SHOWN = 5  # violations of one rule
NAME = 26  # columns


def head(options: Options, words: str) -> str:
    """What is about to be run, and where."""
    what = f"{options.scenario} ({words})" if options.scenario else f"{words} for {options.seconds:g} s"
    return (
        f"Chaos: {what}, seed {options.seed}, broker {options.broker}, on {platform.machine()} {platform.system()}, "
        f"Python {platform.python_version()}"
    )


class Scorecard:
    """`planned`: how often each fault was to strike, by name."""

    def __init__(self, verdict: Verdict, figures: Sequence[Figure], planned: Mapping[str, int]) -> None:
        self._verdict = verdict
        self._figures = figures
        self._planned = planned
        self._broken = Counter(violation.rule for violation in verdict.violations)

    @property
    def passed(self) -> bool:
        """Whether every rule held, every figure is what it must be, and every planned fault struck something."""
        return not list(self._problems())

    def text(self) -> str:
        """All of it; the last line is the result."""
        problems = list(self._problems())
        result = "PASSED" if not problems else f"FAILED: {'; '.join(problems)}"
        parts = [self._rules(), self._faults(), self._totals(), self._own_figures(), [result]]
        return "\n".join(line for part in parts for line in part)

    def _problems(self) -> Iterator[str]:
        yield from (f"{rule} broken {count} times" for rule, count in sorted(self._broken.items()))
        for name in sorted(self._planned):
            if name not in self._verdict.hits:
                yield f"{name} was planned and not run ({self._verdict.not_run.get(name, 'nobody said why')})"
        yield from (f"{figure.name}: {figure.words}" for figure in self._figures if not figure.holds)

    def _rules(self) -> Iterator[str]:
        yield "Rules"
        for name, rule in RULES.items():
            count = self._broken[name]
            words = " ".join((rule.__doc__ or "").split("\n\n")[0].split())
            yield f"  {f'BROKEN {count} times' if count else 'kept':<16} {name}: {words}"
            found = [violation for violation in self._verdict.violations if violation.rule == name]
            yield from (f"      {violation}" for violation in found[:SHOWN])
            if count > SHOWN:
                yield f"      ... and {count - SHOWN} more"

    def _faults(self) -> Iterator[str]:
        names = sorted({*self._planned, *self._verdict.hits, *self._verdict.not_run})
        if not names:
            return
        yield f"Faults{'':<{NAME - 4}} planned  struck  replies hit in mid-stream  gap seen p50   p99"
        for name in names:
            hits = self._verdict.hits.get(name, Hits(0, 0, 0, []))
            gap = self._verdict.figures.gaps.get(name)
            seen = f"{gap.p50:10.2f} s {gap.p99:6.2f} s" if gap is not None and gap.number else f"{'-':>10}   {'-':>6}"
            yield f"  {name:<{NAME}} {self._planned.get(name, 0):>7} {hits.caused:>7} {_replies(hits):>26} {seen}"
            if name in self._verdict.not_run:
                yield f"      not run, at least once: {self._verdict.not_run[name]}"

    def _totals(self) -> Iterator[str]:
        figures = self._verdict.figures
        ends = ", ".join(f"{count:,} {reason}" for reason, count in figures.terminals.items())
        latency = figures.cancel_latency
        yield "Totals"
        yield (
            f"  {figures.clients:,} clients sent {figures.messages:,} messages: {figures.generations:,} generations, "
            f"{figures.events:,} events read; ended: {ends or 'none'}"
        )
        yield (
            f"  {figures.takeovers:,} takeovers; {figures.refused_appends:,} appends of {figures.zombies:,} attempts "
            f"refused; {figures.memories} memories of the broker; {figures.lost_said:,} losses, all of them said"
        )
        if latency.number:
            yield (
                f"  Cancel: {latency.number:,} stopped engines, {_ms(latency.p50)} p50, {_ms(latency.p99)} p99, "
                f"{_ms(latency.most)} at most from the client's request to the engine's stop"
            )

    def _own_figures(self) -> Iterator[str]:
        if self._figures:
            yield "Figures"
        for figure in self._figures:
            yield f"  {'holds' if figure.holds else 'DOES NOT HOLD':<16} {figure.name}: {figure.words}"


def _replies(hits: Hits) -> str:
    return f"{hits.midstream:,}" + (f" and {hits.crashed:,} at the point" if hits.crashed else "")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
