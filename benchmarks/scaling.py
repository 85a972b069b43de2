"""What becomes of the service with more and more sessions, and what a million would need by the measured slope."""

from collections.abc import Callable

from benchmarks import plots
from benchmarks.runs import Record, Runs, Spread, spread
from benchmarks.tables import table

MILLION = 1_000_000
CHUNKS = 5
MINUTES = 5  # between two messages of a person, where a million is reckoned


def sizes(runs: Runs) -> list[int]:
    """Those that were measured, ascending."""
    return sorted({line["connections"] for line in runs.lines("curve")})


def gateways(runs: Runs) -> str:
    """How many gateway processes there were."""
    return str(max((line["processes"] for line in runs.lines("curve")), default="several"))


def curve_table(runs: Runs) -> str:
    """A row for each size."""
    rows = []
    for size in sizes(runs):
        costs = [
            _each(runs, size, "us", 1),
            _each(runs, size, "accept_us", 0),
            _each(runs, size, "connect_s", 1),
            _text(_memory(runs, size, "bytes"), 0),
            _text(_memory(runs, size, "kernel_bytes"), 0),
            _each(runs, size, "replies", 0),
            f"{sum(sum(line['faults'].values()) for line in _lines(runs, size) if 'faults' in line):,}",
        ]
        rows.append((f"{size:,}", *costs))
    head = ("sessions", "CPU per chunk, us", "CPU to accept, us", "all connected after, s")
    more = ("bytes per session", "kernel's bytes, both ends", "replies", "faults")
    return table((*head, *more), rows)


def curve_plot(runs: Runs) -> str:
    """The same as a picture."""
    found = [(size, _cost(runs, size)) for size in sizes(runs)]
    points = [(float(size), cost.median, cost.least, cost.greatest) for size, cost in found if cost]
    if len(points) < 2:
        return plots.nothing()
    return plots.curve("CPU per chunk by sessions, 2,000 replies per second", "us", points)


def per_million(runs: Runs) -> str:
    """A sentence for whoever pays for the machines."""
    most = max(sizes(runs), default=0)
    found = runs.of(f"curve-{most}", "ours")
    if not found:
        return ""
    gigabytes = _median(found, lambda record: record["chatted"]["bytes"]) * MILLION / 1e9
    kernel = _median(found, lambda record: record["chatted"]["kernel_bytes"]) * MILLION / 1e9 / 2
    rest = _median(found, lambda record: record["idle_cpu_share"]) * MILLION / most
    rate = MILLION / (MINUTES * 60)
    chat = _median(found, lambda record: record["us"]) * CHUNKS * rate / 1e6
    accept = _median(found, lambda record: record["accept_us"])
    return (
        f"By the slope of {most:,} sessions a million of them need {gigabytes:.1f} GB in our processes and about "
        f"{kernel:.1f} GB in the kernel (half of both ends), {accept:.0f} s of processor time to be accepted, "
        f"{rest:.1f} processors while all are idle (pings, mostly), and {chat:.1f} more where each asks for five "
        f"chunks every {MINUTES} minutes ({rate:,.0f} replies per second)."
    )


def _median(found: dict[int, Record], value: Callable[[Record], float]) -> float:
    each = spread(value(record) for record in found.values())
    return each.median if each else 0.0


def _lines(runs: Runs, size: int) -> list[Record]:
    return [line for line in runs.lines("curve") if line["connections"] == size]


def _cost(runs: Runs, size: int) -> Spread | None:
    return runs.each(f"curve-{size}", "ours", lambda record: record["us"])


def _memory(runs: Runs, size: int, which: str) -> Spread | None:
    return runs.each(f"curve-{size}", "ours", lambda record: record["chatted"][which])


def _each(runs: Runs, size: int, field: str, digits: int) -> str:
    return _text(runs.each(f"curve-{size}", "ours", lambda record: record[field]), digits)


def _text(found: Spread | None, digits: int) -> str:
    return found.text(digits) if found else ""
