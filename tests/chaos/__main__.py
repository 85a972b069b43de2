"""`python -m tests.chaos`: run, judge, say what came of it."""

import sys
import tempfile
from asyncio import CancelledError
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import mixed, scorecard
from tests.chaos.checker import judge
from tests.chaos.cluster import NotStarted
from tests.chaos.options import Options, parse
from tests.chaos.run import run
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.stage import Stuck


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0 where every rule held and every planned fault struck, else 1."""
    options = parse(argv, sorted(SCENARIOS))
    records = options.keep or Path(tempfile.mkdtemp(prefix="llm-chat-chaos-"))
    with tempfile.TemporaryDirectory(prefix="llm-chat-chaos-logs-") as logs:
        passed = _play(options, Path(logs), records)
        for log in [*Path(logs).glob("*.log"), *Path(logs).glob("broker/*.log")]:
            (records / log.name).write_bytes(log.read_bytes())
    if passed and options.keep is None:
        for file in records.iterdir():
            file.unlink()
        records.rmdir()
    else:
        sys.stdout.write(f"Records and logs: {records}\n")
    return 0 if passed else 1


def _play(options: Options, logs: Path, records: Path) -> bool:
    scenario = SCENARIOS[options.scenario] if options.scenario is not None else mixed.SCENARIO
    sys.stdout.write(f"{scorecard.head(options, scenario.words)}\n")
    try:
        figures = run(options, scenario, logs, records)
    except (NotStarted, Stuck, OSError) as error:
        sys.stdout.write(f"FAILED: the run could not be carried through: {error}\n")
        return False
    except (KeyboardInterrupt, CancelledError):
        sys.stdout.write("FAILED: the run was broken off\n")
        return False
    planned = Counter(stroke.name for stroke in mixed.plan_of(options)) if options.scenario is None else {}
    verdict = judge(records)
    weighed = scenario.weigh(verdict, options.size or scenario.size)
    card = scorecard.Scorecard(verdict, [*figures, *weighed], planned)
    sys.stdout.write(f"{card.text()}\n")
    return card.passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
