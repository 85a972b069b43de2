"""Where things are built and installed, and how: nothing of it inside the project."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
INSTALL_SECONDS = 600


class Unavailable(Exception):
    """This machine lacks something; the message is one line that says what."""


def cache() -> Path:
    """A directory of this user's."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    found = Path(base) / "llm-chat-bench"
    found.mkdir(parents=True, exist_ok=True)
    return found


def go_binary(source: Path) -> str:
    """The path of the program that a directory of Go makes. Raises Unavailable."""
    if shutil.which("go") is None:
        raise Unavailable("needs Go (https://go.dev/dl)")
    binary = cache() / f"{source.name}-{_digest(*sorted(source.glob('*.*')))}"
    if not binary.exists():
        draft = binary.with_suffix(f".{os.getpid()}")  # others may be building it, too
        _run(["go", "build", "-o", str(draft), "."], source, f"{source.name} does not build")
        draft.replace(binary)
    return str(binary)


def python_with(name: str, requirements: Sequence[str]) -> str:
    """The interpreter of an environment that has these. Raises Unavailable."""
    text = "\n".join([sys.version, *requirements])
    directory = cache() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    python = directory / "bin" / "python"
    if not (directory / "whole").exists():
        shutil.rmtree(directory, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(directory)], HERE, f"no environment for {name}")
        _run([str(python), "-m", "pip", "install", "--quiet", *requirements], HERE, f"{name} does not install")
        (directory / "whole").touch()
    return str(python)


def _digest(*files: Path) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.name.encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()[:12]


def _run(argv: Sequence[str], directory: Path, sentence: str) -> None:
    try:
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{sentence}: not within {INSTALL_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"{sentence}: {said[-1][:200]}")
