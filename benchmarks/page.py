"""docs/performance.md and its plots, made from results."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import plots
from benchmarks.figures import GOALS, Goal, idle_bytes, unmet
from benchmarks.peers import PEERS
from benchmarks.places import HERE
from benchmarks.runs import Record, Runs, Spread
from benchmarks.scaling import curve_plot, curve_table, gateways, per_million
from benchmarks.scenarios import scenarios
from benchmarks.tables import table

SHARES = ("p50", "p99", "p99.9")
FULL_MINUTES = 70
NAMES = {"ours": "**ours**", "go": "Go"}


def write_page(lines: Sequence[Record], page: Path) -> None:
    """Write the page, and its plots into a directory beside it that is called as the page."""
    runs = Runs(lines)
    machines = runs.lines("machine") or [{}]
    parts = {
        "date": max((line["at"] for line in lines), default="never")[:10],
        "commit": machines[-1].get("commit", "?"),
        "machine": _machine(machines[-1]),
        "goals": goals(runs),
        "losses": losses(runs),
        "peers": table(("peer", "what it is"), ((_name(name), peer.words) for name, peer in PEERS.items())),
        "costs": _costs(runs),
        "idle": _idle(runs),
        "latencies": _latencies(runs),
        "processes": _processes(runs),
        "gateways": gateways(runs),
        "curve": curve_table(runs),
        "million": per_million(runs),
        "minutes": FULL_MINUTES,
        "scenarios": table(("scenario", "load"), ((one.name, one.words) for one in scenarios(5.0).values())),
        "doubts": _doubts(runs),
    }
    page.write_text(Template((HERE / "page.md").read_text()).substitute(parts))
    directory = page.with_suffix("")
    directory.mkdir(exist_ok=True)
    (directory / "paced.svg").write_text(_bars(runs))
    (directory / "curve.svg").write_text(curve_plot(runs))


def goals(runs: Runs) -> str:
    """The table of what is to be reached."""
    rows = []
    for goal in GOALS:
        found = goal.measure(runs)
        value = found.text(goal.digits, goal.unit) if found else "not measured"
        verdict = "" if found is None else "met" if goal.met(found) else "**not met**"
        rows.append((goal.words, goal.demand(), value, str(found.runs if found else 0), verdict))
    return table(("measure", "goal", "value", "runs", ""), rows)


def losses(runs: Runs) -> str:
    """What is not met, and where the time goes there."""
    missed = unmet(runs)
    if not missed:
        return "Every goal that was measured is met."
    sentences = [
        f"* {goal.words}: {found.text(goal.digits, goal.unit)}, not {goal.demand()}." for goal, found in missed
    ]
    return "\n".join(sentences) + "\n\n" + _profiles(runs, [goal for goal, _ in missed])


def _profiles(runs: Runs, missed: Iterable[Goal]) -> str:
    wanted = {goal.scenario for goal in missed}
    found = {line["scenario"]: line["processes"] for line in runs.lines("profile") if line["scenario"] in wanted}
    parts = [
        "Where our processes spend their time then: functions by the share of their process's samples (py-spy, of the "
        "thread that holds the interpreter's lock; system calls made with the lock are within the function)."
    ]
    for scenario, processes in found.items():
        rows = [
            (name, "<br>".join(f"{share:.0%} `{function}`" for function, share in list(functions.items())[:8]))
            for name, functions in processes.items()
        ]
        parts.append(f"**{scenario}**\n\n{table(('process', 'functions'), rows)}")
    return "\n\n".join(parts if found else ["No profile was taken."])


def _machine(machine: Record) -> str:
    if not machine:
        return "No machine is known."
    kind = ", a virtual machine" if machine["virtual"] else ""
    software = f"Linux {machine['kernel']}, Python {machine['python']}, {machine['go']}"
    return (
        f"Measured on {machine['cores']} cores of {machine['processor']}{kind}, {machine['memory_gb']} GB, {software}."
    )


def _name(peer: str) -> str:
    return NAMES.get(peer, peer)


def _text(found: Spread | None, digits: int = 1) -> str:
    return found.text(digits) if found else ""


def _field(*path: str) -> Any:
    def value(record: Record) -> Any:
        found: Any = record
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    return value


def _costs(runs: Runs) -> str:
    names = ("paced", "wide", "light", "burst", "calm")
    rows = [
        (_name(peer), *(_text(runs.each(name, peer, _field("us"))) for name in names))
        for peer in PEERS
        if any(runs.of(name, peer) for name in names)
    ]
    rows.append(("the load", *(_text(runs.each(name, "ours", _field("load_us"))) for name in names)))
    first = table(("CPU per chunk, us", *names), rows)
    more = [
        (
            _name(peer),
            _text(runs.each("burst", peer, _field("chunks_s")), 0),
            _text(runs.each("paced", peer, _field("chunks_s")), 0),
            _text(runs.each("paced", peer, _field("writes")), 2),
            _text(runs.each("burst", peer, _field("writes")), 2),
        )
        for peer in PEERS
        if runs.of("paced", peer) or runs.of("burst", peer)
    ]
    head = ("", "chunks/s, burst", "chunks/s, paced", "writes per chunk, paced", "writes per chunk, burst")
    return f"{first}\n\n{table(head, more)}"


def _idle(runs: Runs) -> str:
    rows = [
        (
            _name(peer),
            _text(runs.each("idle", peer, _field("accept_us")), 0),
            _text(runs.each("idle", peer, _field("fresh", "bytes")), 0),
            _text(runs.each("idle", peer, _field("chatted", "bytes")), 0),
            _text(runs.each("idle", peer, _field("fresh", "kernel_bytes")), 0),
            _text(runs.each("idle", peer, lambda record: record["idle_cpu_share"] * 100), 1),
        )
        for peer in PEERS
        if runs.of("idle", peer)
    ]
    head = (
        "per connection",
        "CPU to accept, us",
        "bytes, fresh",
        "bytes, has chatted",
        "kernel's bytes",
        "CPU at rest, %",
    )
    ours = runs.each("idle", "ours", idle_bytes("fresh")), runs.each("idle", "ours", idle_bytes("chatted"))
    fresh, chatted = (_text(each, 0) for each in ours)
    note = f"Of ours, gateway and broker alone: {fresh} bytes fresh, {chatted} bytes once it has chatted."
    storms = [
        (_name(peer), *(_text(runs.each("storm", peer, _field("handshake_ms", share)), 1) for share in SHARES))
        for peer in PEERS
        if runs.of("storm", peer)
    ]
    storm = table(("handshake at 1,500 per second, ms", *SHARES), storms)
    return f"{table(head, rows)}\n\n{note}\n\n{storm}"


def _latencies(runs: Runs) -> str:
    rows = []
    for scenario in ("calm", "tokens", "stalled"):
        for peer in PEERS:
            if runs.of(scenario, peer):
                cells = (
                    _text(runs.each(scenario, peer, _field(f"{what}_ms", share)))
                    for what in ("first", "between", "whole")
                    for share in SHARES
                )
                rows.append((scenario, _name(peer), *cells))
    head = [f"{what} {share}" for what in ("first chunk", "between", "whole") for share in SHARES]
    grown = runs.each("stalled", "ours", _field("grown_mb")), runs.each("stalled", "go", _field("grown_mb"))
    mine, its = map(_text, grown)
    note = f"Beside readers that never read, ours grew by {mine} MB, Go's (which drops chunks) by {its} MB."
    return f"{table(('scenario', 'peer', *head), rows)}\n\n{note}"


def _processes(runs: Runs) -> str:
    rows = []
    for scenario in ("paced", "wide", "light", "burst", "calm", "mixed"):
        for name in ("gateway", "broker", "engine"):
            cost = runs.each(scenario, "ours", _field("each_us", name))
            kernel = runs.each(scenario, "ours", _field("kernel_each_us", name))
            writes = runs.each(scenario, "ours", _field("writes_each", name))
            if cost:
                rows.append((scenario, name, _text(cost), _text(kernel), _text(writes, 3)))
    return table(("scenario", "process", "CPU per chunk, us", "of it in the kernel", "writes per chunk"), rows)


def _bars(runs: Runs) -> str:
    found = [(peer, runs.each("paced", peer, _field("us"))) for peer in PEERS]
    rows = [(peer, each.median) for peer, each in found if each]
    return plots.bars("CPU per chunk, 2,000 connections, a chunk every 50 ms", "us", rows) if rows else plots.nothing()


def _doubts(runs: Runs) -> str:
    reasons: dict[str, int] = {}
    for line in runs.doubtful():
        key = f"{line['scenario']}, {_name(line['peer'])}: {'; '.join(line['doubts'])}"
        reasons[key] = reasons.get(key, 0) + 1
    skipped = [f"* {_name(line['peer'])} was left out: {line['reason']}" for line in runs.lines("skipped")]
    said = [f"* {key}" + (f" ({count} times)" if count > 1 else "") for key, count in reasons.items()]
    head = "Runs that were left out, and why:\n\n" if said or skipped else "No run was left out."
    return head + "\n".join([*skipped, *said])
