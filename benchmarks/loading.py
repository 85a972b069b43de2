"""Load a server that runs already, here or elsewhere, with one of the scenarios; say what its clients saw."""

import argparse
import sys
from typing import Any
from urllib.parse import urlsplit

from benchmarks.generator import Load
from benchmarks.measuring import Record, percentiles
from benchmarks.places import Unavailable
from benchmarks.scenarios import scenarios
from benchmarks.verdict import faulty


def add_parser(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("scenario")
    parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of connections and rates")
    parser.set_defaults(command=_command)


def _command(options: argparse.Namespace) -> int:
    known = scenarios(options.seconds, options.scale)
    if options.scenario not in known:
        raise Unavailable(f"no such scenario: {options.scenario}; there are {', '.join(known)}")
    url = urlsplit(options.url)
    address = f"{url.hostname}:{url.port or 80}"
    load = Load(address, url.path or "/ws", "plain", known[options.scenario].parts)
    try:
        connected = load.connected()
        sys.stdout.write(f"{connected['open']:,} connections in {connected['connect_s']:.2f} s\n")
        measured = load.measured()
    finally:
        load.close()
    faults = {kind: count + connected["faults"][kind] for kind, count in measured["faults"].items()}
    sys.stdout.write(_told(measured))
    problems = [*measured["limits"], *filter(None, [faulty(faults)]), *connected["samples"], *measured["samples"]]
    sys.stdout.writelines(f"! {problem}\n" for problem in problems)
    return 1 if problems else 0


def _told(measured: dict[str, Any]) -> str:
    """A table of what came."""
    rows: dict[str, Record] = {
        words: percentiles(measured[name])
        for name, words in (
            ("handshake", "handshake"),
            ("first", "first chunk"),
            ("between", "between chunks"),
            ("whole", "whole reply"),
            ("lag", "lag of the load"),
        )
    }
    head = f"{measured['chunks']:,} chunks of {measured['replies']:,} replies, {measured['wall_s']:.1f} s\n"
    head += f"{'ms':16}{'p50':>10}{'p99':>10}{'p99.9':>10}\n"
    lines = (f"{words:16}" + "".join(f"{value:>10}" for value in row.values()) + "\n" for words, row in rows.items())
    return head + "".join(lines)
