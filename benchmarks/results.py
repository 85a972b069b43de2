"""Results as JSON lines: `kind` says what a line is (machine, skipped, run, curve, profile)."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.places import HERE, ROOT

DEFAULT = HERE / "results.jsonl"


class Results:
    """A file that is added to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, kind: str, **fields: Any) -> None:
        """One line, with the time."""
        with self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "at": time.strftime("%Y-%m-%d %H:%M:%S"), **fields}) + "\n")

    def clear(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    def read(self) -> list[dict[str, Any]]:
        """All lines."""
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "virtual": "hypervisor" in _field("/proc/cpuinfo", "flags").split(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1e6),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "go": _said("go", "version").removeprefix("go version "),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
    }


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "?"


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"
