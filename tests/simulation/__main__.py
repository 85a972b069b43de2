"""`python -m tests.simulation --seed 7 [--trace]` or `--seeds 0..9999`: exit status 1 where a promise was broken."""

import argparse
import sys
import time
from collections import Counter

from tests.simulation.world import Result, run


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="one run")
    which.add_argument("--seeds", type=_range, metavar="A..B", help="all from A to B, both included")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--stored", action="store_true", help="with a history, whose database is away at times")
    options = parser.parse_args(argv)
    seeds = [options.seed] if options.seeds is None else options.seeds
    began, failed, counts = time.monotonic(), 0, Counter[str]()
    for seed in seeds:
        result = run(seed, _print if options.trace else None, stored=options.stored)
        counts.update(result.counts)
        failed += bool(result.failures)
        if result.failures or len(seeds) == 1:
            _print(describe(result))
    happened = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    _print(f"{len(seeds)} seeds, {failed} failed, {time.monotonic() - began:.1f} s: {happened}")
    return 1 if failed else 0


def describe(result: Result) -> str:
    """What came of it; for one that failed also how to see it again."""
    ended = (
        f"seed {result.seed}: {result.callbacks} callbacks, {result.seconds:.1f} s simulated, trace {result.trace:016x}"
    )
    again = f"\n  python -m tests.simulation{' --stored' * result.stored} --seed {result.seed} --trace"
    return ended + "".join(f"\n  {what}" for what in result.failures) + (again if result.failures else "")


def _range(text: str) -> range:
    first, dots, last = text.partition("..")
    if not (dots and first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise argparse.ArgumentTypeError("two numbers, as in 0..9999")
    return range(int(first), int(last) + 1)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
