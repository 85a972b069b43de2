"""More and more gateway and worker processes under the same load: measures, and writes docs/scale.md and its plot from
all that was measured so far."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

from benchmarks import plots
from benchmarks.places import HERE, ROOT
from benchmarks.results import Results, machine
from benchmarks.runs import Record, Spread, spread
from benchmarks.scale import BROKERS, PARTS, SHAPES, Out, Plan, Shape, measure
from benchmarks.tables import table

PAGE = ROOT / "docs" / "scale.md"
DEFAULT = HERE / "scale.jsonl"
FLAT = 0.15
GROUPS = {"broker": ("redis", "broker"), "gateways": ("gateway",), "workers": ("worker", "engine")}
Value = Callable[[Record], float | None]


def add_parser(parser: argparse.ArgumentParser, out: Out) -> None:
    """The options of `scale`."""
    parser.add_argument("--broker", choices=BROKERS, default="redis", help="which one stands in the middle")
    parser.add_argument("--shapes", type=_shapes, default=SHAPES, help="gateways x workers, as in 1x1,2x1,4x1")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS, help="grid, wall or both")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2000, help="chunks per second in all")
    parser.add_argument("--seconds", type=float, default=8.0, help="of load in each run")
    parser.add_argument("--results", type=Path, default=DEFAULT, help="file of JSON lines that is added to")
    parser.add_argument("--page", type=Path, default=PAGE)

    def command(options: argparse.Namespace) -> int:
        results = Results(options.results)
        shapes = [Shape(*shape) for shape in options.shapes]
        plan = Plan(options.broker, shapes, options.parts, options.rounds, options.rate, options.seconds)
        results.add("machine", **machine())
        measure(plan, results, out)
        write_page(results.read(), options.page)
        return 0

    parser.set_defaults(command=command)


def _shapes(text: str) -> Sequence[Shape]:
    return [Shape(*(int(number) for number in word.split("x"))) for word in text.split(",")]


class Scaled:
    """Runs that can be believed, by what was run. Where a neighbour disturbed each run of anything (`noisy`), those are
    taken that were right all the same: better than nothing, and the page says so."""

    def __init__(self, lines: Sequence[Record]) -> None:
        runs = [line for line in lines if line["kind"] == "scale"]
        quiet = [line for line in runs if not line["doubts"]]
        right = [line for line in runs if _right(line)]
        self.noisy = {_what(line) for line in right} != {_what(line) for line in quiet}
        self._lines = right if self.noisy else quiet
        self.passed_over = len(runs) - len(self._lines)

    def shapes(self, broker: str) -> list[Shape]:
        """Those that were measured."""
        return sorted({Shape(one["gateways"], one["workers"]) for one in self._of("scale", broker)}, key=_size)

    def each(self, scenario: str, broker: str, value: Value, shape: Shape | None = None) -> Spread | None:
        """A value over all rounds."""
        some = self._of(scenario, broker)
        found = [value(one) for one in some if shape in (None, Shape(one["gateways"], one["workers"]))]
        return spread(one for one in found if one is not None)

    def _of(self, scenario: str, broker: str) -> list[Record]:
        return [one for one in self._lines if (one["scenario"], one["broker"]) == (scenario, broker)]


def _what(record: Record) -> tuple[str, str, int, int]:
    return record["scenario"], record["broker"], record["gateways"], record["workers"]


def _right(record: Record) -> bool:
    return not record.get("faults") and all("other processes" in doubt for doubt in record["doubts"])


def _doubts(scaled: Scaled) -> str:
    if scaled.noisy:
        return (
            "**The machine was not quiet**: in most runs other processes used more than 15 % of a processor, so that "
            "costs are too high and differ by more than they should."
        )
    return f"{scaled.passed_over} runs were passed over, because a neighbour or the load disturbed them."


def _size(shape: Shape) -> tuple[bool, int, int]:
    return shape.gateways > 1 and shape.workers > 1, shape.workers, shape.gateways


def write_page(lines: Sequence[Record], page: Path) -> None:
    """Write the page, and its plot into the directory `performance` beside it."""
    scaled = Scaled(lines)
    machines = [line for line in lines if line["kind"] == "machine"] or [{}]
    parts = {
        "date": max((line["at"] for line in lines), default="never")[:10],
        "commit": machines[-1].get("commit", "?"),
        "machine": "{cores} cores of {processor}, Python {python}".format_map({**_UNKNOWN, **machines[-1]}),
        "costs": _costs(scaled),
        "flat": _verdict(scaled),
        "counts": _counts(scaled),
        "wall": _wall(scaled),
        "memory": _memory(scaled),
        "doubts": _doubts(scaled),
    }
    page.write_text(Template((HERE / "scale.md").read_text()).substitute(parts))
    (page.parent / "performance").mkdir(exist_ok=True)
    (page.parent / "performance" / "scale.svg").write_text(_plot(scaled))


_UNKNOWN = {"cores": "?", "processor": "?", "python": "?"}


def _group(name: str, field: str = "each_us") -> Value:
    return lambda record: float(sum(record[field].get(one, 0) for one in GROUPS[name]))


def _sleeps(name: str) -> Value:
    def value(record: Record) -> float | None:
        found = record.get("sleeps_s")
        return found and sum(found.get(one, 0) for one in GROUPS[name]) / record["chunks_s"]

    return value


def _total(record: Record) -> float:
    return float(record["us"])


def _costs(scaled: Scaled) -> str:
    rows = []
    for shape in scaled.shapes("redis"):
        each = [_text(scaled.each("scale", "redis", _group(name), shape)) for name in GROUPS]
        total = _text(scaled.each("scale", "redis", _total, shape))
        rows.append((str(shape.gateways), str(shape.workers), *each, total, _over(scaled, shape)))
    head = ("gateways", "workers", *(f"CPU per chunk of {name}, us" for name in GROUPS), "of all", "over 1 and 1")
    return table(head, rows)


def growth(scaled: Scaled, shape: Shape) -> float | None:
    """Of the cost of a chunk over that with one process of each, as a share of it."""
    base, its = (scaled.each("scale", "redis", _total, one) for one in (Shape(1, 1), shape))
    return its.median / base.median - 1 if base and its else None


def _over(scaled: Scaled, shape: Shape) -> str:
    found = growth(scaled, shape)
    return "" if found is None else f"{found:+.0%}"


def _verdict(scaled: Scaled) -> str:
    grown = {shape: found for shape in scaled.shapes("redis") if (found := growth(scaled, shape)) is not None}
    over = [f"{shape.gateways} and {shape.workers} ({found:+.0%})" for shape, found in grown.items() if found > FLAT]
    if not grown:
        return "Not measured."
    if not over:
        return f"It stays flat within {FLAT:.0%}."
    return f"It is **not flat** within {FLAT:.0%} with so many gateways and workers: {', '.join(over)}."


def _counts(scaled: Scaled) -> str:
    rows = []
    for shape in scaled.shapes("redis"):
        rest = scaled.each("scale", "redis", lambda one: sum(one["rest_ms_s"].values()) * 1000 / one["chunks_s"], shape)
        calls = scaled.each("scale", "redis", lambda one: one["calls_s"] / one["chunks_s"], shape)
        writes = scaled.each("scale", "redis", _field("writes"), shape)
        sleeps = [scaled.each("scale", "redis", _sleeps(name), shape) for name in GROUPS]
        texts = [_text(rest), *(_text(one, 2) for one in (calls, writes, *sleeps))]
        rows.append((str(shape.gateways), str(shape.workers), *texts))
    head = ("gateways", "workers", "CPU at rest by chunk, us", "calls of Redis per chunk", "writes per chunk")
    return table((*head, *(f"sleeps of {name} per chunk" for name in GROUPS)), rows)


def _field(name: str) -> Value:
    return lambda record: float(record[name])


def _wall(scaled: Scaled) -> str:
    alone = scaled.each("wall", "none", _field("whole_mean_ms"))
    rows = [("the engine alone", _text(alone, 2), "")]
    for broker in BROKERS:
        found = scaled.each("wall", broker, _field("whole_mean_ms"))
        more = (
            f"{found.median - alone.median:+.2f} ms, {found.median / alone.median - 1:+.2%}" if found and alone else ""
        )
        rows.append((broker, _text(found, 2), more))
    return table(("broker", "mean time of a reply, ms", "over the engine alone"), rows)


def _memory(scaled: Scaled) -> str:
    rows = []
    for broker in BROKERS:
        shape = Shape(1, 1)
        kept = scaled.each("scale", broker, lambda record: record["memory_grown"] / record["replies"], shape)
        cost = scaled.each("scale", broker, _total, shape)
        rows.append(
            (
                broker,
                _text(kept, 0),
                *(_text(scaled.each("scale", broker, _group(g), shape)) for g in GROUPS),
                _text(cost),
            )
        )
    return table(
        ("broker", "bytes per kept reply", *(f"CPU per chunk of {name}, us" for name in GROUPS), "of all"), rows
    )


def _plot(scaled: Scaled) -> str:
    rows = []
    for shape in scaled.shapes("redis"):
        found = [scaled.each("scale", "redis", _group(name), shape) for name in GROUPS]
        rows.append((f"{shape.gateways} gw, {shape.workers} workers", [one.median if one else 0.0 for one in found]))
    title = "CPU per chunk as processes are added, same load, Redis broker"
    return plots.stacked(title, "us", tuple(GROUPS), rows) if rows else plots.nothing()


def _text(found: Spread | None, digits: int = 1) -> str:
    return found.text(digits) if found else ""
