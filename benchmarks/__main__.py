"""`python -m benchmarks`: run, curve, profile, report, all of it, or load any address; scale, a page of its own."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import loading, profiling, scale_page
from benchmarks.figures import unmet
from benchmarks.page import write_page
from benchmarks.places import ROOT, Unavailable
from benchmarks.results import DEFAULT, Results, machine
from benchmarks.runs import Runs
from benchmarks.scenarios import Scenario, scenarios
from benchmarks.suite import Deadline, Suite

PAGE = ROOT / "docs" / "performance.md"
SIZES = (1_000, 10_000, 30_000, 100_000)
PROCESSES = 8
CURVE_SHARE = 0.3  # of the time, where all is run


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that whoever has started servers stops them
    try:
        status: int = options.command(options)
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, command, words in (
        ("all", _all, "everything anew: run, curve, profile, report"),
        ("run", _run, "scenarios, with the peers in turn"),
        ("curve", _curve, "1,000 to 100,000 sessions"),
        ("profile", _profile, "where the time of our processes goes; needs py-spy (extra bench)"),
        ("report", _report, "write docs/performance.md from the results"),
    ):
        one = commands.add_parser(name, help=words, description=words)
        one.set_defaults(command=command)
        one.add_argument("--results", type=Path, default=DEFAULT, help="file of JSON lines that is added to")
        one.add_argument("--rounds", type=int, default=5)
        one.add_argument("--others", type=int, default=3, help="rounds with peers besides Go's")
        one.add_argument("--minutes", type=float, help="begin no round that would not fit")
        one.add_argument("--again", type=int, default=1, help="times that a run is repeated that is no result")
        one.add_argument("--seconds", type=float, default=5.0, help="of load in each run")
        one.add_argument("--scale", type=float, default=1.0, help="of connections and rates, for trying out")
        one.add_argument("--scenarios", type=_names, help="only these, separated by commas")
        one.add_argument("--peers", type=_names, help="only these")
        one.add_argument("--sizes", type=_numbers, default=SIZES, help="of the curve")
        one.add_argument("--processes", type=int, default=PROCESSES, help="gateway processes on the curve")
        one.add_argument("--page", type=Path, default=PAGE)
    loading.add_parser(commands.add_parser("load", help="load any address", description=loading.__doc__))
    scale_page.add_parser(commands.add_parser("scale", help="more processes", description=scale_page.__doc__), _out)
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    known = scenarios(options.seconds, options.scale)
    unknown = set(options.scenarios or ()) - known.keys()
    if unknown:
        raise Unavailable(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in options.scenarios or known]


def _suite(options: argparse.Namespace, share: float = 1.0) -> Suite:
    results = Results(options.results)
    results.add("machine", **machine())
    deadline = Deadline(options.minutes * share if options.minutes else None)
    return Suite(results, _out, options.rounds, options.others, options.again, deadline)


def _out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _run(options: argparse.Namespace) -> int:
    _suite(options).compare(_chosen(options), options.peers)
    return 0


def _curve(options: argparse.Namespace) -> int:
    _suite(options).curve(options.sizes, options.processes)
    return 0


def _profile(options: argparse.Namespace) -> int:
    results = Results(options.results)
    for scenario in _chosen(options):
        results.add("profile", scenario=scenario.name, processes=profiling.profile(scenario))
    return 0


def _report(options: argparse.Namespace) -> int:
    write_page(Results(options.results).read(), options.page)
    return 0


def _all(options: argparse.Namespace) -> int:
    Results(options.results).clear()
    _suite(options, 1 - CURVE_SHARE).compare(_chosen(options), options.peers)
    _suite(options, CURVE_SHARE).curve(options.sizes, options.processes)
    missed = {goal.scenario for goal, _ in unmet(Runs(Results(options.results).read()))}
    options.scenarios = [one.name for one in _chosen(options) if one.name in missed]
    try:
        if options.scenarios:
            _profile(options)
    except Unavailable as error:
        _out(f"no profiles: {error}\n")
    return _report(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
