"""What the chaos command is told: parsed, and refused in one line where it cannot be."""

import argparse
import errno
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.chaos.houses import HOUSES

GATEWAYS = 2
LARGEST_SEED = 2**63 - 1


class Options(NamedTuple):
    """`seconds` the load lasts, `clients` talk in it; `port` is the first of the ports that clients connect to (0: free
    ones); `keep` is where records go and stay (None: a temporary directory that stays only where the run failed);
    `scenario` names a run with a figure of its own, in `size` (None: the scenario's own size)."""

    seconds: float
    seed: int
    broker: str
    clients: int
    port: int
    keep: Path | None
    scenario: str | None
    size: int | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"chaos: {message}\n")
        raise SystemExit(2)


def parse(argv: Sequence[str], scenarios: Sequence[str]) -> Options:
    """Raises SystemExit: 2 with one line on standard error where an option cannot be, 0 behind `--help`."""
    parser = _Parser(
        prog="python -m tests.chaos",
        description="Start the service, load it, break it by a plan, and judge from records that nothing was lost.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seconds", type=Between(float, 5, 86_400), default=60.0, help="how long the load lasts")
    parser.add_argument("--seed", type=Between(int, 0, LARGEST_SEED), default=1, help="the same plan for the same seed")
    parser.add_argument("--broker", choices=sorted(HOUSES), default="manager", help="which broker stands in the middle")
    parser.add_argument("--clients", type=Between(int, 10, 5_000), default=160, help="how many talk at the same time")
    parser.add_argument(
        "--port", type=Between(int, 0, 65_536 - GATEWAYS), default=0, help="the first port for clients (0: any)"
    )
    parser.add_argument("--keep", type=Path, default=None, metavar="DIR", help="put the records there and leave them")
    parser.add_argument("--scenario", choices=scenarios, default=None, help="a run with a figure of its own instead")
    parser.add_argument("--size", type=Between(int, 1, 1_000_000), default=None, help="of the scenario (its own: None)")
    options = Options(**vars(parser.parse_args(argv)))
    if options.size is not None and options.scenario is None:
        parser.error("--size belongs to a --scenario")
    _check_ports(parser, options.port)
    _check_directory(parser, options.keep)
    return options


class Between:
    """A number between two bounds, both included."""

    def __init__(self, kind: type[int] | type[float], least: float, most: float) -> None:
        self._kind = kind
        self._least = least
        self._most = most
        self.__name__ = "number"  # how argparse calls what is none

    def __call__(self, text: str) -> float:
        value = self._kind(text)
        if not self._least <= value <= self._most:  # so that nan is refused, too
            raise argparse.ArgumentTypeError(f"{text} is not between {self._least} and {self._most}")
        return value


def _check_ports(parser: _Parser, first: int) -> None:
    for port in range(first, first + GATEWAYS) if first else ():
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError as error:
                why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
                parser.error(f"port {port} {why}")


def _check_directory(parser: _Parser, keep: Path | None) -> None:
    if keep is None:
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.glob("*.jsonl")):
            parser.error(f"{keep} holds the records of another run")
        (keep / "probe").touch()
        (keep / "probe").unlink()
    except OSError as error:
        parser.error(f"{keep} cannot hold the records: {error.strerror}")
