"""What Linux tells of processes and of itself under /proc (proc(5))."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


class Cpu(NamedTuple):
    """Processor time in seconds; `kernel` is the part of it that was spent in system calls, known to the tick only."""

    seconds: float
    kernel: float


def marked(mark: str) -> Iterator[int]:
    """The processes that have this `NAME=value` in the environment they were started with."""
    for entry in PROC.iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def cpu(pid: int) -> Cpu:
    """Of all its threads, to the nanosecond (schedstat), those that have ended included to the tick. Raises OSError."""
    user, kernel = (int(field) / TICKS for field in stat(pid)[11:13])
    tasks = (PROC / str(pid) / "task").iterdir()
    living = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    return Cpu(max(living, user + kernel), kernel)


def stat(pid: int) -> list[str]:
    """The fields of stat behind the name. Raises OSError."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether it runs: zombies do not."""
    try:
        return stat(pid)[0] != "Z"
    except OSError:
        return False


def command(pid: int) -> list[str]:
    """Its arguments. Raises OSError."""
    return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def own_memory(pid: int) -> int:
    """Bytes that it shares with nobody (USS). Raises OSError."""
    text = (PROC / str(pid) / "smaps_rollup").read_text()
    return sum(_kilobytes(text, name) for name in ("Private_Clean:", "Private_Dirty:")) * 1024


def writes(pid: int) -> int:
    """Calls of write(2) and writev(2); send(2) is not among them. Raises OSError."""
    fields = dict(line.split(": ") for line in (PROC / str(pid) / "io").read_text().splitlines())
    return int(fields["syscw"])


def sleeps(pid: int) -> int:
    """How often its first thread has gone to sleep, to be woken again. Raises OSError."""
    text = (PROC / str(pid) / "status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches:"))


def busy() -> float:
    """Seconds that all processors of the machine have worked so far, and that were stolen from them."""
    fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (int(field) / TICKS for field in fields)
    return user + nice + system + irq + softirq + steal


def kernel_memory() -> int:
    """Bytes of the kernel's slab and of TCP's buffers (sockstat)."""
    slab = _kilobytes((PROC / "meminfo").read_text(), "Slab:") * 1024
    for line in (PROC / "net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return slab + int(line.split()[-1]) * PAGE
    return slab


def _kilobytes(text: str, name: str) -> int:
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name))
