"""Where the time of our processes goes, by function: py-spy looks at each of them two hundred times a second, at the
thread that holds the interpreter's lock. Waiting is not in it, nor what a thread does without the lock."""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measuring import Ready, run
from benchmarks.peers import OURS
from benchmarks.places import ROOT, Unavailable
from benchmarks.scenarios import Scenario
from benchmarks.servers import Servers

MOST = 12  # functions of a process that are told
Shares = dict[str, float]


def profile(scenario: Scenario) -> dict[str, Shares]:
    """The share of each process's time that each of its functions took itself, by process. Raises Unavailable."""
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{Path.home()}/.local/bin") or shutil.which(
        "py-spy"
    )
    if spy is None:
        raise Unavailable("needs py-spy (pip install 'llm-chat[bench]')")
    with tempfile.TemporaryDirectory(prefix="llm-chat-profile-") as directory:
        spies: list[subprocess.Popen[bytes]] = []

        def watch(servers: Servers) -> None:
            for pid, name in servers.names().items():
                spies.append(_spy(spy, pid, Path(directory) / f"{name}.{pid}", scenario.seconds))

        run(Ready(OURS, OURS.prepare()), scenario, watch=watch)
        for one in spies:
            one.wait()
        found = {file.stem: shares(file.read_text().splitlines()) for file in sorted(Path(directory).iterdir())}
    return {name: some for name, some in found.items() if some}


def _spy(program: str, pid: int, file: Path, seconds: float) -> "subprocess.Popen[bytes]":
    argv = [program, "record", "--gil", "--rate", "200", "--duration", str(max(1, int(seconds))), "--format", "raw"]
    silent = subprocess.DEVNULL
    return subprocess.Popen([*argv, "--output", str(file), "--pid", str(pid)], stdout=silent, stderr=silent)


def shares(stacks: Iterable[str]) -> Shares:
    """The functions at the top of py-spy's raw stacks (`outer (file:line);inner (file:line) count`), most first."""
    counts = Counter[str]()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        name, _, place = stack.rpartition(";")[2].partition(" (")
        file = place.partition(":")[0].removeprefix(f"{ROOT}/")
        counts[f"{name} ({file})"] += int(count)
    total = counts.total()
    return {name: round(count / total, 3) for name, count in counts.most_common(MOST)}
